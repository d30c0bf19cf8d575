/** The companion extension as IDEs and browsers get it from workers, over HTTP. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import semver from "semver";
import { request } from "undici";
import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../../shared/base/clock.ts";
import { createCompanion } from "../../../../worker/clients/companion/companion.ts";
import { COMPANION_ID } from "../../../../worker/clients/companion/package.ts";
import { startStore } from "../../../support/embedded-store.ts";
import { silentLog } from "../../../support/logs.ts";
import { put, vsix } from "../../../support/plugins.ts";
import { tempFolder } from "../../../support/temp-folder.ts";
import { until } from "../../../support/until.ts";
import { startWorker, type Worker, type WorkerOptions } from "../../api/fixture.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

const SERVER_URL = "https://edge.example.com/base";
const LATEST = "/clients/vscode/gallery/vscode/codetogether-edge/companion/latest";

let workers = 0;

/** Each worker has a data directory of its own, as on a machine of its own. */
function start(options: WorkerOptions = {}): Promise<Worker> {
  const dataDir = join(folder, `data-${++workers}`);
  return startWorker({ clientsDir: folder, serverUrl: SERVER_URL, dataDir, ...options });
}

interface Latest {
  readonly versions: readonly {
    readonly version: string;
    readonly properties: readonly { readonly key: string; readonly value: string }[];
  }[];
}

async function latest(worker: Worker): Promise<Latest> {
  return await until("the companion is offered", async () => {
    const { status, body } = await worker.ask("GET", LATEST);
    return status === 200 ? (body as Latest) : false;
  });
}

async function versionOf(worker: Worker): Promise<string> {
  return (await latest(worker)).versions[0]?.version ?? "";
}

async function download(worker: Worker) {
  const version = await versionOf(worker);
  const path = `/clients/vscode/codetogether-edge-companion-${version}.vsix`;
  const { statusCode, headers, body } = await request(worker.url + path);
  expect(statusCode).toBe(200);
  return { etag: headers["etag"], bytes: Buffer.from(await body.arrayBuffer()) };
}

test("two workers offer the same bytes with the same ETag, and the page shows their digest", async () => {
  const store = await startStore();
  const first = await start({ store });
  const second = await start({ store, id: "worker-2" });
  const file = await download(first);
  expect(await download(second)).toEqual(file);
  const digest = createHash("sha256").update(file.bytes).digest("hex");
  for (const worker of [first, second]) {
    await until("the page has the digest", async () =>
      String((await worker.ask("GET", "/clients")).body).includes(digest),
    );
  }
  const page = String((await first.ask("GET", "/clients")).body);
  expect(page).toContain("https://edge.example.com/base/?room=$");
  expect(page).toContain(`codium --install-extension ${COMPANION_ID}`);
});

test("the gallery finds the companion with its dependency, and serves its package and its manifest", async () => {
  const worker = await start();
  const { versions } = await latest(worker);
  expect(versions[0]?.properties).toContainEqual({
    key: "Microsoft.VisualStudio.Code.ExtensionDependencies",
    value: "typefox.open-collaboration-tools",
  });
  const found = await worker.ask("POST", "/clients/vscode/gallery/extensionquery", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      filters: [{ criteria: [{ filterType: 7, value: COMPANION_ID }] }],
      flags: 950,
    }),
  });
  expect(JSON.stringify(found.body)).toContain('"extensionName":"companion"');
  const gallery = "/clients/vscode/gallery";
  const version = versions[0]?.version;
  const { bytes } = await download(worker);
  const packaged = await request(
    `${worker.url}${gallery}/publishers/codetogether-edge/vsextensions/companion/latest/vspackage`,
  );
  expect(Buffer.from(await packaged.body.arrayBuffer())).toEqual(bytes);
  const manifest = await worker.ask(
    "GET",
    `${gallery}/assets/codetogether-edge/companion/${version}/universal/Microsoft.VisualStudio.Code.Manifest`,
  );
  expect(manifest.body).toMatchObject({
    version,
    contributes: { configurationDefaults: { "oct.serverUrl": SERVER_URL } },
  });
});

test("a changed server URL makes a higher version, and a restart with the same URL makes none", async () => {
  const store = await startStore();
  const before = await versionOf(await start({ store }));
  expect(await versionOf(await start({ store }))).toBe(before);
  const after = await versionOf(await start({ store, serverUrl: "https://new.example.com" }));
  expect(semver.gt(after, before)).toBe(true);
});

test("the companion configures the operator's own build of the extension", async () => {
  put(
    folder,
    "vscode/oct.vsix",
    await vsix({ publisher: "acme", name: "open-collaboration-tools" }),
  );
  const worker = await start();
  await until("it depends on that build", async () =>
    JSON.stringify(await latest(worker)).includes('"acme.open-collaboration-tools"'),
  );
});

test("a copy of the companion in the folder is not offered beside the generated one", async () => {
  const copy = { publisher: "codetogether-edge", name: "companion", version: "99.0.0" };
  put(folder, "vscode/copy.vsix", await vsix(copy));
  const worker = await start();
  const versions = (await latest(worker)).versions.map(({ version }) => version);
  expect(versions).not.toContain("99.0.0");
  expect((await worker.ask("GET", "/clients/vscode/copy.vsix")).status).toBe(404);
});

test("without a server URL the companion is not offered, and the page says why and what to set", async () => {
  const dataDir = join(folder, "data");
  const worker = await startWorker({ clientsDir: folder, dataDir });
  const page = String((await worker.ask("GET", "/clients")).body);
  expect(page).toContain("does not know its own public address");
  expect(page).toContain("CT_SERVER_URL=https://edge.example.com");
  expect((await worker.ask("GET", LATEST)).status).toBe(404);
});

test("the companion waits for the store, and is ready soon after it is available", async () => {
  const fixture = await startStore();
  await fixture.stop();
  const companion = createCompanion({
    serverUrl: SERVER_URL,
    folder: join(folder, "companion"),
    store: fixture.connect(),
    clock: systemClock,
    log: silentLog(),
  });
  await companion.refresh([]);
  expect(companion.state).toEqual({ state: "preparing" });
  await fixture.start();
  await until("it is ready", async () => {
    await companion.refresh([]);
    return companion.state.state === "ready";
  });
  await companion.close();
});

test("the page says so when the companion cannot be written into the data directory", async () => {
  put(folder, "file", "not a folder");
  const worker = await start({ dataDir: join(folder, "file/data") });
  await until("the page has the reason", async () =>
    String((await worker.ask("GET", "/clients")).body).includes("CT_DATA_DIR"),
  );
});

test("the page says where to get each plugin that is not offered", async () => {
  put(
    folder,
    "vscode/oct.vsix",
    await vsix({ publisher: "typefox", name: "open-collaboration-tools" }),
  );
  const worker = await start();
  const page = async () => String((await worker.ask("GET", "/clients")).body);
  await until("the extension is offered", async () => (await page()).includes("oct.vsix"));
  const text = await page();
  expect(text).toContain("https://plugins.jetbrains.com/plugin/32650");
  expect(text).toContain("COLLABORATION_SERVER_URL");
  expect(text).not.toContain("itemName=typefox.open-collaboration-tools");
});
