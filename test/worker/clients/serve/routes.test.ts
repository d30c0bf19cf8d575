/** The routes below /clients, over HTTP. */

import { statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { XMLParser } from "fast-xml-parser";
import { Agent, request } from "undici";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { readVsixAsset } from "../../../../worker/clients/formats/vsix.ts";
import { pluginJar, pluginZip, put, putRepository, vsix } from "../../../support/plugins.ts";
import { exchange } from "../../../support/sockets.ts";
import { tempFolder } from "../../../support/temp-folder.ts";
import { until } from "../../../support/until.ts";
import { startWorker, type Worker, type WorkerOptions } from "../../api/fixture.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

/** A worker that offers the folder; waits until it offers this many files. */
async function start(offered: number, options: WorkerOptions = {}): Promise<Worker> {
  const worker = await startWorker({ clientsDir: folder, ...options });
  await until("all is offered", async () => {
    const { body } = await worker.ask("GET", "/clients");
    const links = String(body).match(/class="digest"|<td><code>/g) ?? [];
    return links.length === offered && !String(body).includes("computing…");
  });
  return worker;
}

interface Bytes {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

async function manifestOf(extension: Buffer): Promise<string> {
  const path = put(folder, "scratch/e.vsix", extension);
  return (await readVsixAsset(path, "extension.vsixmanifest", 100_000)).toString();
}

async function get(
  worker: Worker,
  path: string,
  headers: Record<string, string> = {},
  method: "GET" | "HEAD" = "GET",
): Promise<Bytes> {
  const dispatcher = new Agent();
  onTestFinished(() => dispatcher.destroy());
  const answer = await request(worker.url + path, { method, headers, dispatcher });
  const body = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: answer.headers, body };
}

/** The counts in the operator's CSV file, without the day. */
async function downloads(worker: Worker): Promise<string[]> {
  const authorization = `Basic ${Buffer.from("ops:operator").toString("base64")}`;
  const { status, body } = await worker.ask("GET", "/clients/downloads.csv", {
    headers: { authorization },
  });
  expect(status).toBe(200);
  const [titles, ...lines] = String(body).trimEnd().split("\r\n");
  expect(titles).toBe("day,ide,id,version,downloads");
  return lines.map((line) => line.replace(/^\d{4}-\d\d-\d\d,/, ""));
}

describe("page", () => {
  test("the page shows the steps for each IDE with absolute URLs, and lists the files", async () => {
    put(folder, "vscode/a b&.vsix", await vsix({ displayName: "<script>alert(1)</script>" }));
    put(folder, "intellij/p.zip", await pluginZip({ name: `"><img src=x>`, icon: "<svg/>" }));
    await putRepository(join(folder, "eclipse"));
    // With the companion extension.
    const worker = await start(4, { serverUrl: "https://edge.example.com/base" });
    const { status, headers, body } = await worker.ask("GET", "/clients/");
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    const csp = String(headers["content-security-policy"]);
    expect(csp).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'/);
    expect(headers["strict-transport-security"]).toBeDefined();
    const text = String(body);
    for (const part of [
      "https://edge.example.com/base/clients/intellij/updatePlugins.xml",
      "https://edge.example.com/base/clients/eclipse/",
      "https://edge.example.com/base/clients/vscode/gallery",
      'href="/base/clients/vscode/a%20b%26.vsix"',
      'href="/base/clients/clients.css"',
      'src="/base/clients/icons/p.zip"',
      "&#60;script&#62;alert(1)",
      "p2.httpRule=allow",
      "extensions.verifySignature",
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toMatch(/<script>alert|<img src=x/);
    expect((await worker.ask("GET", "/clients/clients.css")).status).toBe(200);
    for (const path of ["/clients/clients.css", "/login.css"]) {
      // Defined in the base style sheet only.
      expect(String((await worker.ask("GET", path)).body)).toContain("--accent: #");
    }
    const icon = await worker.ask("GET", "/clients/icons/p.zip");
    expect(icon).toMatchObject({ status: 200, body: "<svg/>" });
    expect(icon.headers["content-security-policy"]).toMatch(/sandbox/);
  });

  test("the page says that there are no plugins, with an empty folder and without a folder", async () => {
    const worker = await startWorker({ clientsDir: join(folder, "missing") });
    const { status, body } = await worker.ask("GET", "/clients");
    expect([status, String(body)]).toEqual([200, expect.stringContaining("No plugins yet")]);
    const { body: list } = await worker.ask("GET", "/clients/intellij/updatePlugins.xml");
    expect(list).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<plugins/>\n');
  });

  test("the whole area returns 404 with a reason when it is turned off", async () => {
    const worker = await startWorker();
    for (const path of ["/clients", "/clients/", "/clients/intellij/updatePlugins.xml"]) {
      const answer = await worker.ask("GET", path);
      expect(answer).toMatchObject({ status: 404, body: expect.stringContaining("CT_NOCLIENTS") });
    }
    expect((await worker.ask("POST", "/clients/vscode/gallery/extensionquery")).status).toBe(404);
  });

  test("an invalid Host header is not reflected", async () => {
    put(folder, "intellij/p.zip", await pluginZip());
    const worker = await start(1);
    const ask = (host: string) =>
      worker.ask("GET", "/clients/intellij/updatePlugins.xml", {
        headers: {
          "x-ct-edge": worker.proof,
          "x-forwarded-host": host,
          "x-forwarded-proto": "https",
        },
      });
    const urlFor = async (host: string) =>
      /url="([^"]*)"/.exec(String((await ask(host)).body))?.[1];
    expect(await urlFor("edge.example.com:8443")).toBe(
      "https://edge.example.com:8443/clients/intellij/p.zip",
    );
    expect(await urlFor("[2001:db8::1]:1443")).toBe(
      "https://[2001:db8::1]:1443/clients/intellij/p.zip",
    );
    expect(await urlFor("evil<x>/y")).toBe("http://localhost/clients/intellij/p.zip");
  });
});

describe("files", () => {
  test("a file is sent whole, in ranges, or as 304 when the client has it", async () => {
    const bytes = await vsix({ entries: { "extension/data": Buffer.alloc(400_000, "ab") } });
    const path = put(folder, "vscode/codetogether-onpremises-1.vsix", bytes);
    const worker = await start(1);
    const url = "/clients/vscode/codetogether-onpremises-1.vsix";

    const whole = await get(worker, url);
    expect(whole.status).toBe(200);
    expect(whole.body.equals(bytes)).toBe(true);
    const modified = statSync(path).mtime.toUTCString();
    expect(whole.headers).toMatchObject({
      "content-length": String(bytes.length),
      "content-type": "application/vsix",
      "accept-ranges": "bytes",
      "last-modified": modified,
      "content-disposition": 'attachment; filename="codetogether-onpremises-1.vsix"',
      "x-content-type-options": "nosniff",
      "cache-control": "no-cache",
    });
    expect(whole.headers).not.toHaveProperty("content-encoding");
    const etag = String(whole.headers["etag"]);

    const head = await get(worker, url, { range: "bytes=0-1" }, "HEAD");
    expect([head.status, head.body.length]).toEqual([200, 0]);
    expect(head.headers).toMatchObject({
      "content-length": String(bytes.length),
      "last-modified": modified,
    });

    const part = await get(worker, url, { range: "bytes=100-199" });
    expect([part.status, part.headers["content-range"]]).toEqual([
      206,
      `bytes 100-199/${bytes.length}`,
    ]);
    expect(part.body.equals(bytes.subarray(100, 200))).toBe(true);
    const last = await get(worker, url, { range: "bytes=-5" });
    expect(last.body.equals(bytes.subarray(-5))).toBe(true);
    const beyond = await get(worker, url, { range: `bytes=${bytes.length}-` });
    expect([beyond.status, beyond.headers["content-range"]]).toEqual([
      416,
      `bytes */${bytes.length}`,
    ]);

    for (const condition of [{ "if-none-match": etag }, { "if-modified-since": modified }]) {
      const same = await get(worker, url, condition);
      expect([same.status, same.body.length, same.headers["etag"]]).toEqual([304, 0, etag]);
    }
    const resume = { range: "bytes=10-", "if-range": modified };
    expect((await get(worker, url, resume)).status).toBe(206);
    const stale = { range: "bytes=10-", "if-range": "Mon, 01 Jan 2001 00:00:00 GMT" };
    expect((await get(worker, url, stale)).status).toBe(200);
    expect((await get(worker, url, { "if-match": '"other"' })).status).toBe(412);
  });

  test("a download is counted once, when its first bytes are sent", async () => {
    put(folder, "vscode/v.vsix", await vsix({ version: "1.2.3" }));
    put(folder, "intellij/p.zip", await pluginZip({ version: "2.0" }));
    await putRepository(join(folder, "eclipse"));
    const worker = await start(3);
    const { headers } = await get(worker, "/clients/vscode/v.vsix");
    await get(worker, "/clients/vscode/v.vsix", {}, "HEAD");
    await get(worker, "/clients/vscode/v.vsix", { "if-none-match": String(headers["etag"]) });
    await get(worker, "/clients/vscode/v.vsix", { range: "bytes=0-9" });
    await get(worker, "/clients/vscode/v.vsix", { range: "bytes=10-" });
    await get(worker, "/clients/vscode/no-such.vsix");
    await get(worker, "/clients/intellij/p.zip");
    await get(worker, "/clients/intellij/updatePlugins.xml");
    for (const id of ["core", "ui"]) {
      await get(worker, `/clients/eclipse/plugins/com.acme.collab.${id}_1.2.3.v2030.jar`);
    }
    await get(worker, "/clients/eclipse/content.jar");
    await until("all is counted", async () => (await downloads(worker)).length === 3);
    expect(await downloads(worker)).toEqual([
      "eclipse,com.acme.collab.core,1.2.3.v2030,1",
      "intellij,com.acme.collab,2.0,1",
      "vscode,acme.collab,1.2.3,2",
    ]);
    expect(await worker.store.readCounters("downloads.total")).toEqual({ "downloads.total": 4 });
    const byVersion = await worker.store.readCounters("downloads.by/");
    expect(Object.values(byVersion).reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(worker.counters.value("worker.downloads", "vscode")).toBe(2);
  });

  test.each([
    "/clients/vscode/..%2f..%2fetc%2fpasswd",
    "/clients/vscode/%2e%2e/%2e%2e/secret.txt",
    "/clients/vscode/../secret.txt",
    "/clients/vscode/..%5csecret.txt",
    "/clients/vscode/v.vsix%00",
    "/clients/vscode/V.VSIX",
    "/clients/vscode/.hidden.vsix",
    "/clients/vscode/",
    "/clients/intellij/v.vsix",
    "/clients/eclipse/../secret.txt",
    "/clients/eclipse/%2e%2e/secret.txt",
    "/clients/eclipse/..%2fsecret.txt",
    "/clients/eclipse//etc/passwd",
    "/clients/eclipse/%2fetc%2fpasswd",
    "/clients/eclipse/plugins",
    "/clients/eclipse/plugins/",
    "/clients/eclipse/plugins/a%00.jar",
    "/clients/eclipse/.hidden",
    "/clients/eclipse/out/secret.txt",
    "/clients/eclipse/compositeContent.jar",
    "/clients/eclipse/x.part",
    `/clients/eclipse/${"a".repeat(5000)}`,
    "/clients/icons/../clients.css",
    "/clients/secret.txt",
  ])("the path %s returns 404 and no file", async (path) => {
    put(folder, "secret.txt", "secret");
    put(folder, "vscode/v.vsix", await vsix());
    put(folder, "vscode/.hidden.vsix", await vsix());
    await putRepository(join(folder, "eclipse"));
    put(folder, "eclipse/.hidden", "secret");
    put(folder, "eclipse/x.part", "secret");
    const outside = tempFolder();
    put(outside, "secret.txt", "secret");
    symlinkSync(outside, join(folder, "eclipse/out"));
    const worker = await start(2);
    // As it is: a client would normalize it.
    const head = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const answer = await exchange(worker.port, head);
    expect(answer).toMatch(/^HTTP\/1.1 404 /);
    expect(answer).not.toContain("secret\r\n");
  });
});

describe("gallery", () => {
  const base = "/clients/vscode/gallery";

  test("the gallery leads a client from its query to the package", async () => {
    const icon = Buffer.from("a picture");
    const old = await vsix({ version: "1.9.0" });
    const newest = await vsix({ version: "1.10.0", targetPlatform: "linux-x64", icon });
    put(folder, "vscode/1.vsix", old);
    put(folder, "vscode/2.vsix", newest);
    const worker = await start(2);
    const query = (flags: number) =>
      worker.ask("POST", `${base}/extensionquery`, {
        headers: {
          "content-type": "application/json",
          accept: "application/json;api-version=3.0-preview.1",
          origin: "https://web-ide.example.com",
        },
        body: JSON.stringify({
          filters: [
            {
              criteria: [
                { filterType: 7, value: "acme.collab" },
                { filterType: 8, value: "Microsoft.VisualStudio.Code" },
                { filterType: 12, value: "4096" },
              ],
              pageNumber: 1,
              pageSize: 1,
              sortBy: 0,
              sortOrder: 0,
            },
          ],
          assetTypes: [],
          flags,
        }),
      });
    const answer = await query(950);
    expect(answer.headers["access-control-allow-origin"]).toBe("*");
    const { results } = answer.body as {
      results: { extensions: { versions: { version: string; assetUri: string }[] }[] }[];
    };
    const [version] = results[0]?.extensions[0]?.versions ?? [];
    expect(version?.version).toBe("1.10.0");
    const path = String(version?.assetUri).slice(worker.url.length);
    expect(version?.assetUri).toBe(`${worker.url}${path}`);

    const manifest = await worker.ask("GET", `${path}/Microsoft.VisualStudio.Code.Manifest`);
    expect(manifest.body).toMatchObject({ name: "collab", version: "1.10.0" });
    const asset = `${path}/Microsoft.VisualStudio.Services.VSIXPackage`;
    const suffix = "?redirect=true&install=true&targetPlatform=linux-x64";
    expect((await get(worker, asset + suffix)).body.equals(newest)).toBe(true);
    const picture = await get(worker, `${path}/Microsoft.VisualStudio.Services.Icons.Default`);
    expect([picture.headers["content-type"], picture.body.equals(icon)]).toEqual([
      "image/png",
      true,
    ]);
    const details = await worker.ask(
      "GET",
      `${path}/Microsoft.VisualStudio.Services.Content.Details`,
    );
    expect(details.body).toBe("# Collab");
    for (const missing of ["Microsoft.VisualStudio.Services.Content.License", "constructor"]) {
      expect((await worker.ask("GET", `${path}/${missing}`)).status).toBe(404);
    }

    const versionPath = `${base}/publishers/acme/vsextensions/collab/1.9.0`;
    const byHand = await get(worker, `${versionPath}/vspackage`);
    expect(byHand.body.equals(old)).toBe(true);
    expect(byHand.headers["content-disposition"]).toBe(
      'attachment; filename="acme.collab-1.9.0.vsix"',
    );
    const other = await get(worker, `${versionPath}/vspackage?targetPlatform=win32-x64`);
    expect(other.status).toBe(404);
    const latest = await worker.ask("GET", `${base}/vscode/acme/collab/latest`);
    expect(latest.body).toMatchObject({ extensionName: "collab" });
    expect((await worker.ask("GET", `${base}/vscode/acme/nothing/latest`)).status).toBe(404);
    const stats = `${base}/publishers/acme/extensions/collab/1.9.0/stats?statType=install`;
    expect((await worker.ask("POST", stats)).status).toBe(204);
    await until("both are counted", async () => (await downloads(worker)).length === 2);
    expect(await downloads(worker)).toEqual([
      "vscode,acme.collab,1.10.0,1",
      "vscode,acme.collab,1.9.0,1",
    ]);
  });

  test("the gallery serves the newest package as latest, and assets whose paths are spelled differently", async () => {
    const manifest = (await manifestOf(await vsix({ version: "1.2.3+build.5" }))).replace(
      "extension/README.md",
      "\\Extension/Read%20me.md",
    );
    const entries = { "extension.vsixmanifest": manifest, "extension/read me.md": "# spelled" };
    const bytes = await vsix({ version: "1.2.3+build.5", entries });
    put(folder, "vscode/1.vsix", bytes);
    const worker = await start(1);
    const versions = `${base}/publishers/ACME/vsextensions/Collab`;
    for (const version of ["latest", "1.2.3+build.5", "1.2.3%2Bbuild.5"]) {
      const { status, body } = await get(worker, `${versions}/${version}/vspackage`);
      expect([version, status, body.equals(bytes)]).toEqual([version, 200, true]);
    }
    const asset = `${base}/assets/acme/collab/1.2.3%2Bbuild.5/universal`;
    const details = await worker.ask(
      "GET",
      `${asset}/Microsoft.VisualStudio.Services.Content.Details`,
    );
    expect([details.status, details.body]).toEqual([200, "# spelled"]);
  });

  test("the gallery shows the number of downloads of an extension", async () => {
    put(folder, "vscode/1.vsix", await vsix());
    const worker = await start(1);
    await worker.store.addToCounters({
      "downloads/2030-01-01/vscode/acme.collab/1.0.0": 3,
      "downloads/2030-01-02/vscode/acme.collab/1.1.0": 4,
      "downloads/2030-01-02/intellij/acme.collab/1.1.0": 5,
    });
    await until("it knows", async () => {
      const { body } = await worker.ask("GET", `${base}/vscode/acme/collab/latest`);
      const { statistics } = body as { statistics: unknown };
      return JSON.stringify(statistics) === '[{"statisticName":"install","value":7}]';
    });
  });

  test("the gallery refuses an invalid query, and allows queries from any origin", async () => {
    const worker = await startWorker({ clientsDir: folder });
    const ask = (body: string) =>
      worker.ask("POST", `${base}/extensionquery`, {
        headers: { "content-type": "application/json" },
        body,
      });
    for (const body of ["", "{", "[]", '{"filters":[]}', "null", '{"__proto__":{}}']) {
      expect((await ask(body)).status).toBe(400);
    }
    expect((await ask(JSON.stringify({ filters: [{}] }))).body).toMatchObject({
      results: [{ extensions: [] }],
    });
    expect((await ask(" ".repeat(2 * 1024 * 1024))).status).toBe(413);
    const preflight = await worker.ask("OPTIONS", `${base}/extensionquery`, {
      headers: { origin: "https://web-ide.example.com", "access-control-request-method": "POST" },
    });
    expect(preflight).toMatchObject({
      status: 200,
      headers: {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": expect.stringContaining("x-market-client-id"),
      },
    });
    const wrong = await worker.ask("GET", `${base}/extensionquery`);
    expect([wrong.status, wrong.headers["allow"]]).toEqual([405, "POST, OPTIONS"]);
  });
});

test("the list for JetBrains IDEs has the newest compatible version of each plugin", async () => {
  put(folder, "intellij/1.zip", await pluginZip({ version: "1.9", since: "231", until: "241.*" }));
  put(folder, "intellij/2.jar", await pluginJar({ version: "1.10", since: "242", until: "243.*" }));
  put(folder, "intellij/3.jar", await pluginJar({ id: "b", version: "1", name: 'A & "B"' }));
  const worker = await start(3);
  const list = async (query: string) => {
    const { body } = await worker.ask("GET", `/clients/intellij/updatePlugins.xml${query}`);
    expect(String(body)).not.toContain("<!DOCTYPE");
    const parsed = new XMLParser({
      ignoreAttributes: false,
      attributeNamePrefix: "",
      parseTagValue: false,
    }).parse(String(body)) as { plugins: { plugin: Record<string, unknown>[] } };
    return [parsed.plugins.plugin].flat();
  };
  expect((await list("?build=IU-242.100")).map(({ id, version }) => [id, version])).toEqual([
    ["com.acme.collab", "1.10"],
    ["b", "1"],
  ]);
  expect((await list("?build=IC-233.5"))[0]).toEqual({
    id: "com.acme.collab",
    url: `${worker.url}/clients/intellij/1.zip`,
    version: "1.9",
    "idea-version": { "since-build": "231", "until-build": "241.*" },
    name: "Collab",
    vendor: { email: "a@example.com", url: "https://example.com", "#text": "Acme" },
    description: "<b>Works</b> together",
    "change-notes": "more & better",
    depends: "com.intellij.modules.platform",
  });
  expect((await list("?build=IU-999.1")).map(({ name }) => name)).toEqual(['A & "B"']);
  expect((await list("")).map(({ version }) => version)).toEqual(["1.10", "1"]);
  expect((await list("?build=nonsense")).map(({ version }) => version)).toEqual(["1.10", "1"]);
  const { headers } = await worker.ask("GET", "/clients/intellij/updatePlugins.xml");
  const again = await worker.ask("GET", "/clients/intellij/updatePlugins.xml", {
    headers: { "if-none-match": String(headers["etag"]) },
  });
  expect(again.status).toBe(304);
});

test("Eclipse finds a repository in its own order of requests", async () => {
  await putRepository(join(folder, "eclipse"));
  const worker = await start(1);
  const index = await worker.ask("GET", "/clients/eclipse/p2.index");
  expect(index).toMatchObject({ status: 200, body: expect.stringMatching(/^version=1\n/) });
  for (const [name, status] of [
    ["compositeContent.jar", 404],
    ["compositeContent.xml", 404],
    ["content.xml.xz", 404],
    ["content.jar", 200],
    ["artifacts.jar", 200],
  ] as const) {
    const head = await get(
      worker,
      `/clients/eclipse/${name}`,
      { "accept-encoding": "gzip" },
      "HEAD",
    );
    expect([name, head.status]).toEqual([name, status]);
    if (status !== 200) continue;
    const { mtime } = statSync(join(folder, "eclipse", name));
    expect(head.headers["last-modified"]).toBe(mtime.toUTCString());
    const whole = await get(worker, `/clients/eclipse/${name}`, { "accept-encoding": "gzip" });
    expect(whole.headers).not.toHaveProperty("content-encoding");
    expect(whole.body.length).toBe(Number(head.headers["content-length"]));
  }
});

describe("download counts", () => {
  test("download counts are for operators only", async () => {
    const worker = await startWorker({ clientsDir: folder });
    const ask = (authorization?: string) =>
      worker.ask("GET", "/clients/downloads.csv", {
        ...(authorization !== undefined && { headers: { authorization } }),
      });
    for (const field of [undefined, "Basic", "Basic b3BzOndyb25n", "Bearer x"]) {
      const answer = await ask(field);
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe(
        'Basic realm="CodeTogether edge", charset="UTF-8"',
      );
      expect(answer.headers["cache-control"]).toBe("no-store");
    }
    expect(await downloads(worker)).toEqual([]);
  });

  test("download counts wait during a store outage, and are then written once", async () => {
    put(folder, "intellij/p.zip", await pluginZip());
    const worker = await start(1);
    await worker.storeFixture.stop();
    expect((await get(worker, "/clients/intellij/p.zip")).status).toBe(200);
    expect((await get(worker, "/clients/intellij/p.zip")).status).toBe(200);
    await worker.storeFixture.start();
    await until("it is counted", async () => {
      const counted = await downloads(worker).catch(() => []);
      return counted.length > 0;
    });
    expect(await downloads(worker)).toEqual(["intellij,com.acme.collab,1.0,2"]);
  });
});
