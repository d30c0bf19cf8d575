/**
 * The page of the browser client as a worker serves it: for people with and without JavaScript, and for health checks.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import Fastify, { type FastifyInstance } from "fastify";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { addClientAssets } from "../../../worker/api/client-assets.ts";
import { replyWith } from "../../../worker/http/responses.ts";
import { buildOnce } from "../../support/build.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { startWorker } from "./fixture.ts";

const ROOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7";
const PLACES = ["/", `/?room=${ROOM}`, "/join", `/join/${ROOM}`];

test("the page says what the server is, and links to the plugins and the dashboard", async () => {
  const worker = await startWorker({ clientsDir: tempFolder() });
  for (const place of PLACES) {
    const { status, headers, body } = await worker.ask("GET", place);
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    for (const part of [
      "<h1>CodeTogether edge</h1>",
      "hosted by Test Inc.",
      `<pre id="server-url">http://127.0.0.1:${worker.port}</pre>`,
      'href="/clients"',
      'href="/dashboard/"',
    ]) {
      expect(body).toContain(part);
    }
    expect(body).not.toContain(ROOM);
  }
});

test("the page is never cached, sends no referrer, and admits only its own scripts and styles", async () => {
  const worker = await startWorker();
  const [first, second] = [await worker.ask("GET", "/"), await worker.ask("GET", "/")];
  expect(first.headers).toMatchObject({
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
  });
  const policy = String(first.headers["content-security-policy"]);
  expect(policy).toMatch(
    /^default-src 'none'; script-src 'self'; style-src 'self' 'nonce-[A-Za-z0-9+/]{22}=='; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'$/,
  );
  expect(second.headers["content-security-policy"]).not.toBe(policy);
  expect(first.body).not.toMatch(/style=|onclick|<style|<script(?! type="module" nonce=)/);
});

test("the page of a session sets the cookie of its session key, and other pages do not", async () => {
  const worker = await startWorker();
  const cookieOf = async (path: string, headers = {}) =>
    (await worker.ask("GET", path, { headers })).headers["set-cookie"];
  const cookie = `ctstickiness=${ROOM}; Path=/; HttpOnly; SameSite=Lax`;
  expect(await cookieOf(`/join/${ROOM}`)).toBe(cookie);
  expect(await cookieOf(`/?room=${ROOM}`)).toBe(cookie);
  for (const path of ["/", "/join", "/join/short", "/?room=a;b", `/?room=${ROOM}&room=${ROOM}`]) {
    expect([path, await cookieOf(path)]).toEqual([path, undefined]);
  }
  const overTls = { "x-ct-edge": worker.proof, "x-forwarded-proto": "https" };
  expect(await cookieOf(`/join/${ROOM}`, overTls)).toBe(`${cookie}; Secure`);
});

test("the cookie of a server with a base path is limited to it", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com/base/" });
  const { headers } = await worker.ask("GET", `/base/join/${ROOM}`);
  expect(headers["set-cookie"]).toBe(
    `ctstickiness=${ROOM}; Path=/base; HttpOnly; SameSite=Lax; Secure`,
  );
});

test("a page does not make a session of the room in its URL", async () => {
  const worker = await startWorker();
  await worker.ask("GET", `/join/${ROOM}`);
  expect(await worker.store.findSession(ROOM as never)).toBeUndefined();
});

test("the page tells its script the server's URL, owner and meeting", async () => {
  const worker = await startWorker({
    serverUrl: "https://edge.example.com",
    meetingUrl: 'https://meet.example.com/{room}?a="b"',
  });
  const { body } = await worker.ask("GET", "/");
  const content = /<meta name="ct-edge" content="([^"]*)">/.exec(String(body))?.[1] ?? "";
  const text = content.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
  expect(JSON.parse(text)).toEqual({
    serverUrl: "https://edge.example.com",
    owner: "Test Inc.",
    offersPlugins: false,
    meetingTemplate: 'https://meet.example.com/{room}?a="b"',
  });
});

test("the page does not link to plugins that the server does not offer", async () => {
  const worker = await startWorker();
  const { body } = await worker.ask("GET", "/");
  expect(body).not.toContain("/clients");
  expect(body).toContain("from the marketplace of your IDE");
});

test("the page shows the URL that the operator has set, and links below its path", async () => {
  const worker = await startWorker({ serverUrl: "https://edge.example.com/base/" });
  for (const path of ["/", "/base", "/base/", `/base/join/${ROOM}`]) {
    const { body } = await worker.ask("GET", path);
    expect(body).toContain('<pre id="server-url">https://edge.example.com/base</pre>');
    expect(body).toContain('href="/base/dashboard/"');
    expect(body).toContain('href="/base/login.svg"');
  }
});

test("the page does not echo a malformed host name", async () => {
  const worker = await startWorker();
  const headers = { "x-ct-edge": worker.proof, "x-forwarded-host": `"><script>alert(1)</script>` };
  const { body } = await worker.ask("GET", "/", { headers });
  expect(body).toContain('<pre id="server-url">http://localhost</pre>');
  expect(body).not.toContain("alert");
});

test("the page answers HEAD and OPTIONS with 200 for health checks, and refuses other methods", async () => {
  const worker = await startWorker();
  expect(await worker.ask("HEAD", "/")).toMatchObject({ status: 200, body: "" });
  expect((await worker.ask("OPTIONS", "/")).status).toBe(200);
  expect(await worker.ask("POST", "/")).toMatchObject({
    status: 405,
    headers: { allow: "GET, HEAD, OPTIONS" },
  });
});

// --- files ---

const FOLDER = fileURLToPath(new URL("../../../dist/worker/web/client/app/", import.meta.url));
/** Of a newcomer's first load, over a slow connection too. */
const MAX_FIRST_LOAD_BYTES = 350 * 1024;

beforeAll(() => buildOnce(), 120_000);

test("the first load of the built client is small", () => {
  const sizeOf = (name: string): number => readFileSync(`${FOLDER}${name}.gz`).length;
  const entries = readdirSync(FOLDER).filter((name) =>
    /^(?:main|client)-\w+\.(?:js|css)$/.test(name),
  );
  expect(entries).toHaveLength(2);
  const chunks = new Set(entries);
  for (const name of chunks) {
    const text = readFileSync(FOLDER + name, "utf8");
    for (const [, chunk = ""] of text.matchAll(/(?:from|import)"\.\/(chunk-\w+\.js)"/g)) {
      chunks.add(chunk);
    }
  }
  const bytes = [...chunks].reduce((sum, name) => sum + sizeOf(name), 0);
  expect(bytes).toBeLessThan(MAX_FIRST_LOAD_BYTES);
});

/** A server of the built files alone. */
async function builtFiles(): Promise<FastifyInstance> {
  const app = Fastify();
  addClientAssets({
    app,
    refuse: (reply, _reason, response) => replyWith(reply, response),
    settings: { serverUrl: undefined },
    folder: pathToFileURL(FOLDER),
  });
  await app.ready();
  onTestFinished(() => app.close());
  return app;
}

test("a file is compressed as the browser accepts it, and kept for a year", async () => {
  const app = await builtFiles();
  const url = `/app/${readdirSync(FOLDER).find((name) => /^main-\w+\.js$/.test(name))}`;
  const ask = async (accepted: string) => {
    const headers = { "accept-encoding": accepted };
    return (await app.inject({ method: "HEAD", url, headers })).headers;
  };
  expect(await ask("gzip, deflate, br")).toMatchObject({
    "content-encoding": "br",
    "content-type": "text/javascript; charset=utf-8",
    "cache-control": "public, max-age=31536000, immutable",
    vary: "Origin, Accept-Encoding",
  });
  expect((await ask("br;q=0, gzip;q=0.5"))["content-encoding"]).toBe("gzip");
  expect((await ask("identity"))["content-encoding"]).toBeUndefined();
});

test("the page of another version gets this version's entry, which is not kept; other names are not found", async () => {
  const app = await builtFiles();
  const script = readdirSync(FOLDER).find((name) => /^main-\w+\.js$/.test(name)) ?? "";
  const other = await app.inject("/app/main-OTHER123.js");
  expect(other).toMatchObject({ statusCode: 200, headers: { "cache-control": "no-store" } });
  expect(other.body).toBe(readFileSync(FOLDER + script, "utf8"));
  for (const name of ["chunk-OTHER123.js", "main.js", "..%2f..%2fmain.js", "%00", `${script}.br`]) {
    expect([name, (await app.inject(`/app/${name}`)).statusCode]).toEqual([name, 404]);
  }
});

test("the licenses of all packages in the built pages are served; browsers keep only files with a hash in the name", async () => {
  const app = await builtFiles();
  const { headers, body } = await app.inject("/app/licenses.txt");
  expect(headers).toMatchObject({
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
  });
  const sections = body.split(/\n-{72}\n/);
  expect(sections.filter((section) => !/Permission (?:is|to use)/.test(section))).toEqual([]);
  for (const name of ["@codemirror/view", "open-collaboration-protocol", "uplot", "yjs"]) {
    expect(body).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+$`, "m"));
  }
  const script = readdirSync(FOLDER).find((name) => /^main-\w+\.js$/.test(name));
  expect((await app.inject(`/app/${script}`)).headers["cache-control"]).toContain("immutable");
});
