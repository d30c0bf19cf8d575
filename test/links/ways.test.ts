/** Which requests of a balancer take its link to a worker, and which take plain connections. */
import { expect, onTestFinished, test } from "vitest";
import type { LinkState } from "../../balancer/upstreams/worker-links.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import { parseMember, type WorkerRecord } from "../../shared/store/member.ts";
import { LinkSocket } from "../../worker/links/link-socket.ts";
import { type Rig, type RigOptions, startRig } from "../balancer/rig.ts";
import { chunked, get, post, upgrade } from "../conformance/case.ts";
import { until } from "../support/until.ts";
import { linkTargets } from "./accept-links.ts";
import { startLinkedWorker } from "./linked-worker.ts";

async function startBalancer(worker: WorkerRecord, options: RigOptions = {}): Promise<Rig> {
  const rig = await startRig({
    workers: [worker],
    probe: { async ask() {} },
    linkTarget: linkTargets(),
    ...options,
  });
  onTestFinished(() => rig.close());
  return rig;
}

const linkOf = (rig: Rig) => rig.path.router.upstreams[0]?.links;

async function linkIs(rig: Rig, state: LinkState): Promise<void> {
  await until(`the link is ${state}`, () => linkOf(rig)?.state === state);
}

/** The way by which a request reached the worker, as the worker saw it. */
async function wayOf(rig: Rig, request: string): Promise<string | undefined> {
  const client = await rig.send(request);
  await client.has("\r\n\r\n");
  const way = /^way: (\w+)/im.exec(client.text)?.[1];
  client.socket.destroy();
  return way;
}

const upload = (body: string): string => post(body, `Content-Length: ${body.length}`);
const at = (path: string, request: string): string => request.replace(" / ", ` ${path} `);

test("WebSockets and small requests of the product's paths take the link, all others a plain connection", async () => {
  const worker = await startLinkedWorker();
  const rig = await startBalancer(worker.record());
  await linkIs(rig, "open");
  for (const path of [
    "/socket.io/?EIO=4",
    "/api/session/poll/x",
    "/api/login/poll/x",
    "/api/meta",
  ]) {
    expect(await wayOf(rig, at(path, get())), path).toBe("link");
  }
  const small = "x".repeat(65_536);
  expect(await wayOf(rig, at("/api/session/join/x", upload(small)))).toBe("link");
  expect(await wayOf(rig, at("/api/session/join/x", upload(`${small}x`)))).toBe("plain");
  expect(await wayOf(rig, at("/api/session/join/x", chunked("1\r\nx\r\n0\r\n\r\n")))).toBe("plain");
  expect(await wayOf(rig, at("/plugins/vscode.vsix", get()))).toBe("plain");

  const client = await rig.send(at("/socket.io/?EIO=4&transport=websocket", upgrade()));
  await client.head();
  client.write("over the link");
  await client.has("over the link");
  expect([...worker.tunnels][0]).toBeInstanceOf(LinkSocket);
  client.socket.end();
  await client.close();
  await until("its stream is over", () => rig.path.tunnels.size === 0);
  expect([...rig.bugs, ...worker.bugs]).toEqual([]);
});

test.each<[what: string, more: Partial<WorkerRecord>, isOn: boolean, state: LinkState]>([
  ["a balancer with CT_LINK=off", {}, false, "off"],
  ["a worker of the version before", { linkVersion: undefined }, true, "unsupported"],
  ["a worker of a later version", { linkVersion: LINK_VERSION + 1 }, true, "unsupported"],
])("%s is served over plain connections", async (_what, more, isOn, state) => {
  const worker = await startLinkedWorker();
  const rig = await startBalancer(
    { ...worker.record(), ...more },
    { linkTarget: linkTargets({ isOn }) },
  );
  expect(linkOf(rig)?.state).toBe(state);
  expect(await wayOf(rig, at("/api/meta", get()))).toBe("plain");
  expect(worker.links.links).toBe(0);
});

test("a worker with CT_LINK=off whose record still announces links is served over plain connections", async () => {
  const worker = await startLinkedWorker({ hasLinks: false });
  const rig = await startBalancer(worker.record());
  await linkIs(rig, "unsupported");
  expect(await wayOf(rig, at("/api/meta", get()))).toBe("plain");
});

test("the record of a worker of the version before is valid, and so is one with links", async () => {
  const worker = await startLinkedWorker();
  const { linkVersion, ...former } = worker.record();
  expect(linkVersion).toBe(LINK_VERSION);
  expect(parseMember(former)).toEqual(former);
  expect(parseMember(worker.record())).toMatchObject({ linkVersion });
  expect(parseMember({ ...former, linkVersion: 7 })).toMatchObject({ linkVersion: 7 });
});

test("a client whose worker has closed its WebSocket is noticed when it goes away", async () => {
  const worker = await startLinkedWorker();
  const rig = await startBalancer(worker.record());
  await linkIs(rig, "open");
  const client = await rig.send(at("/socket.io/?EIO=4&transport=websocket", upgrade()));
  await client.head();
  for (const tunnel of worker.tunnels) tunnel.destroy();
  await client.end();
  client.write("still talking");
  client.socket.end();
  await until("the tunnel is over", () => rig.path.tunnels.size === 0);
  await until("the connection has ended", () => rig.path.listener.connections === 0);
});

test("a stream beyond the worker's limit is refused and counted, its request takes a plain connection, and the worker stays healthy", async () => {
  const worker = await startLinkedWorker();
  const rig = await startBalancer(worker.record());
  await linkIs(rig, "open");
  const [upstream] = rig.path.router.upstreams;
  const streams = Array.from({ length: 20_000 }, () => upstream?.links.open());
  await until("there is a link with room", () => upstream?.links.links === 2);
  await until("the worker has all streams", () => worker.links.streams === 20_000);
  expect(await wayOf(rig, at("/api/session/create", upload("")))).toBe("plain");
  expect(worker.links.counts.resets).toBe(1);
  expect(upstream?.health.state).toBe("healthy");

  streams[0]?.destroy();
  await until("the worker has room", () => worker.links.streams < 20_000);
  expect(await wayOf(rig, at("/api/session/create", upload("")))).toBe("link");
  expect([...rig.bugs, ...worker.bugs]).toEqual([]);
});
