/** Links that break: cut anywhere in a conversation, or silent after a network cut. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { BEAT_MS } from "../../shared/link/link.ts";
import { type Rig, startRig } from "../balancer/rig.ts";
import { get, post, upgrade } from "../conformance/case.ts";
import { framesIn } from "../shared/link/frame-bytes.ts";
import type { RawSocket } from "../support/sockets.ts";
import { createStepClock, type StepClock } from "../support/step-clock.ts";
import { until } from "../support/until.ts";
import { linkTargets } from "./accept-links.ts";
import {
  type Cut,
  type Direction,
  endOfHead,
  type LinkProxy,
  type RelayedLink,
  startLinkProxy,
} from "./link-proxy.ts";
import { CLOSE_ME, type LinkedWorker, startLinkedWorker } from "./linked-worker.ts";

interface Setup {
  readonly rig: Rig;
  readonly clock: StepClock;
  readonly worker: LinkedWorker;
  readonly proxy: LinkProxy;
  readonly isOpen: () => boolean;
}

/** A balancer whose link to its worker leads through a proxy; no heartbeats unless the test advances the clock. */
async function start(): Promise<Setup> {
  const clock = createStepClock();
  const worker = await startLinkedWorker({ clock });
  const proxy = await startLinkProxy(worker.port);
  const rig = await startRig({
    workers: [worker.record(proxy.port)],
    clock,
    probe: { async ask() {} },
    linkTarget: linkTargets(),
    limits: { upstreamTimeoutMs: 60_000, bodyTimeoutMs: 60_000, headerTimeoutMs: 60_000 },
  });
  const isOpen = (): boolean => rig.path.router.upstreams[0]?.links.state === "open";
  await until("the link is open", isOpen);
  return { rig, clock, worker, proxy, isOpen };
}

/** Waits for `condition` while time passes, slowly enough that no peer seems silent. */
async function passing(clock: StepClock, what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`did not come: ${what}`);
    clock.advance(25);
    await pause(1);
  }
}

/** Cuts at regular distances. */
const PLACES = 16;

const at = (path: string, request: string): string => request.replace(" / ", ` ${path} `);
const SMALL_GET = at("/api/meta?bytes=100", get());
/** So large that credit is given for it. */
const LARGE_GET = at("/api/session/x?bytes=70000", get());
const UPLOAD = at("/api/session/x", post("u".repeat(40_000), "Content-Length: 40000"));
const WEBSOCKET = at("/socket.io/?EIO=4", upgrade());

const isAnswered = (bytes: number) => {
  return ({ text }: RawSocket): boolean =>
    text.startsWith("HTTP/1.1 200 ") && text.length - text.indexOf("\r\n\r\n") - 4 === bytes;
};
/** A response of the balancer's own, or a connection that ended: the client knows that it has no complete response. */
const isFailed = ({ text, closed, ended }: RawSocket): boolean =>
  /^HTTP\/1\.1 50[234] [\s\S]*\r\n\r\n/.test(text) || closed || ended;

/** Requests of every kind, and WebSockets that end, are closed and are reset; resolves when each has its answer. */
async function converse({ rig, clock }: Setup): Promise<void> {
  const requests = [
    [SMALL_GET, isAnswered(100)],
    [LARGE_GET, isAnswered(70_000)],
    [UPLOAD, isAnswered(40_000)],
  ] as const;
  await Promise.all([
    ...requests.map(async ([request, isWhole]) => {
      const client = await rig.send(request);
      await passing(clock, "an answer", () => isWhole(client) || isFailed(client));
      client.socket.destroy();
    }),
    ...(["end", "be closed", "reset"] as const).map(async (how) => {
      const client = await rig.send(WEBSOCKET);
      await passing(clock, "a switch", () => client.text.includes("\r\n\r\n") || isFailed(client));
      client.write("echo");
      await passing(clock, "an echo", () => client.text.endsWith("echo") || isFailed(client));
      if (isFailed(client)) {
        client.socket.destroy();
        return;
      }
      if (how === "reset") {
        client.socket.resetAndDestroy();
        return;
      }
      if (how === "be closed") client.write(CLOSE_ME);
      else if (!client.ended && !client.closed) client.socket.end();
      await passing(clock, "the end", () => client.ended || client.closed);
      client.socket.destroy();
    }),
  ]);
}

/** Ends the present link, and waits for the next one. */
async function renew({ worker, clock, proxy, isOpen }: Setup): Promise<void> {
  const before = proxy.links.length;
  worker.links.close();
  await passing(clock, "another link", () => proxy.links.length > before && isOpen());
}

/** The frames of a link, in one direction. */
function framesOf(link: RelayedLink, direction: Direction): ReturnType<typeof framesIn> {
  const bytes = link[direction];
  return framesIn(bytes.subarray(endOfHead(bytes)));
}

/** In the head and at its end, in and around each kind of frame, and all over the conversation. */
function cutsOf(link: RelayedLink): Cut[] {
  return (["toWorker", "toBalancer"] as const).flatMap((direction) => {
    const { length } = link[direction];
    const start = endOfHead(link[direction]);
    const places = [1, start - 1, start, start + 1];
    for (let place = 1; place < PLACES; place++) {
      places.push(start + Math.floor(((length - start) * place) / PLACES));
    }
    const kinds = new Map(framesOf(link, direction).map((frame) => [frame.kind, frame.length]));
    return [
      ...places.map((bytes) => ({ direction, bytes })),
      ...[...kinds].flatMap(([kind, size]) =>
        [...new Set([1, 4, 7, 8, 9, Math.floor(size / 2), size - 1, size])]
          .filter((bytes) => bytes <= size)
          .map((bytes) => ({ direction, kind, bytes })),
      ),
    ];
  });
}

test("a link that is cut anywhere in a conversation leaves no request without an answer, harms no other, and comes back", async () => {
  const setup = await start();
  const { rig, clock, worker, proxy } = setup;
  await converse(setup);
  await renew(setup);
  const [recorded] = proxy.links;
  if (recorded === undefined) throw new Error("no link");
  const kinds = (direction: Direction): string[] =>
    framesOf(recorded, direction).map(({ kind }) => kind);
  expect(kinds("toWorker")).toEqual(
    expect.arrayContaining(["credit", "data", "fin", "open", "reset"]),
  );
  expect(kinds("toBalancer")).toEqual(expect.arrayContaining(["credit", "data", "fin", "reset"]));

  // On a link of its own, to another worker.
  const other = await startLinkedWorker({ id: "w2", clock });
  const otherRig = await startRig({
    workers: [other.record()],
    clock,
    probe: { async ask() {} },
    linkTarget: linkTargets(),
  });
  const bystander = await otherRig.client();
  await until("its link is open", () => other.links.links === 1);
  bystander.write(WEBSOCKET);
  await bystander.head();

  for (const cut of cutsOf(recorded)) {
    const where = JSON.stringify(cut);
    proxy.cutNext(cut);
    await renewOrCut(setup, where);
    await converse(setup).catch((error: unknown) => {
      throw new Error(where, { cause: error });
    });
    bystander.write(`${where};`);
    await bystander.has(`${where};`);
    // Nothing is left of it.
    await passing(clock, `${where}: the tunnels end`, () => rig.path.tunnels.size === 0);
    await passing(clock, `${where}: the worker's tunnels end`, () => worker.tunnels.size === 0);
  }
  const cutInside = new Set(proxy.links.flatMap(kindsCutInside));
  expect([...cutInside]).toEqual(expect.arrayContaining(["data", "credit", "reset"]));
  await renew(setup);
  const client = await rig.send(SMALL_GET);
  await passing(clock, "an answer", () => isAnswered(100)(client));
  expect(client.text).toMatch(/^way: link/m);
  await until("the worker has one link", () => worker.links.links === 1);
  expect(worker.links.counts.errors).toBe(0);
  expect([...rig.bugs, ...otherRig.bugs, ...worker.bugs]).toEqual([]);
}, 60_000);

/** Kinds of frames of which a link has carried the header and not all of the payload. */
function kindsCutInside(link: RelayedLink): string[] {
  return (["toWorker", "toBalancer"] as const).flatMap((direction) => {
    const last = framesOf(link, direction).at(-1);
    const end = last === undefined ? 0 : endOfHead(link[direction]) + last.at + last.length;
    return last !== undefined && end > link[direction].length ? [last.kind] : [];
  });
}

/** The next link may be cut before it is open. */
async function renewOrCut({ worker, clock, proxy, isOpen }: Setup, what: string): Promise<void> {
  const before = proxy.links.length;
  worker.links.close();
  await passing(
    clock,
    `${what}: another link`,
    () => proxy.links.length > before && (isOpen() || proxy.links[before]?.isOver === true),
  );
}

test("a link that has become silent is given up within its heartbeats, its streams end, and plain connections serve", async () => {
  const setup = await start();
  const { rig, clock, worker, proxy, isOpen } = setup;
  const socket = await rig.send(WEBSOCKET);
  await socket.head();
  const waiting = await rig.send(at("/api/session/poll/x?hold", get()));
  await until("the request waits", () => worker.held.length === 1);
  // Heartbeats keep it open.
  for (let beat = 0; beat < 10; beat++) {
    const { length } = (proxy.links[0] as RelayedLink).toBalancer;
    clock.advance(BEAT_MS);
    await until("a heartbeat", () => (proxy.links[0] as RelayedLink).toBalancer.length > length);
  }
  expect(isOpen()).toBe(true);

  proxy.freeze();
  proxy.isRefusing = true;
  socket.write("into the void");
  clock.advance(4 * BEAT_MS);
  expect(isOpen()).toBe(true);
  expect(worker.links.links).toBe(1);
  clock.advance(BEAT_MS);
  await until("both ends have given it up", () => !isOpen() && worker.links.links === 0);
  await socket.close();
  await until("the worker's tunnel has ended", () => worker.tunnels.size === 0);
  // It may be repeated, but not at a worker that is silent.
  await passing(
    clock,
    "an answer or a second attempt",
    () => isFailed(waiting) || worker.held.length > 1,
  );
  worker.held[1]?.end("answered");
  await passing(clock, "an answer", () => isFailed(waiting) || waiting.text.endsWith("answered"));
  const client = await rig.send(SMALL_GET);
  await passing(clock, "an answer", () => isAnswered(100)(client));
  expect(client.text).toMatch(/^way: plain/m);

  proxy.isRefusing = false;
  await passing(clock, "the link is open again", isOpen);
  const next = await rig.send(SMALL_GET);
  await passing(clock, "an answer", () => isAnswered(100)(next));
  expect(next.text).toMatch(/^way: link/m);
  expect([...rig.bugs, ...worker.bugs]).toEqual([]);
});

test("a request that may be repeated goes to the same worker over a connection of its own when its link breaks", async () => {
  const { rig, clock, worker, proxy, isOpen } = await start();
  const repeatable = await rig.send(at("/api/session/poll/x?hold", get()));
  const once = await rig.send(at("/api/session/create?hold", post("", "Content-Length: 0")));
  await until("the requests wait", () => worker.held.length === 2);
  proxy.isRefusing = true;
  worker.links.close();
  await until("the link has broken", () => !isOpen());
  await passing(clock, "a second attempt", () => worker.held.length === 3);
  worker.held[2]?.end("answered");
  await passing(clock, "an answer", () => repeatable.text.endsWith("answered"));
  await passing(clock, "an error", () => isFailed(once));
  expect(rig.bugs).toEqual([]);
});

test("a request that may be repeated survives the end of both links to its worker at once", async () => {
  const worker = await startLinkedWorker();
  const rig = await startRig({
    workers: [worker.record()],
    probe: { async ask() {} },
    linkTarget: linkTargets(),
  });
  const links = rig.path.router.upstreams[0]?.links;
  await until("the link is open", () => links?.state === "open");
  // The 257th stream asks for a second link; the request becomes the 257th of that one.
  for (let count = 0; count < 257; count++) links?.open();
  await until("there is a second link", () => links?.links === 2);
  for (let count = 0; count < 256; count++) links?.open();
  await until("the worker has all streams", () => worker.links.streams === 257 + 256);
  const client = await rig.send(at("/api/meta?hold", get()));
  await until("the request waits", () => worker.held.length === 1);
  worker.links.close();
  await until("a second attempt or an error", () => worker.held.length === 2 || isFailed(client));
  worker.held[1]?.end("answered");
  await until("an answer", () => isFailed(client) || client.text.endsWith("answered"));
  expect(client.text).toMatch(/^HTTP\/1\.1 200 /);
  expect(client.text).toMatch(/^way: plain/m);
  expect([...rig.bugs, ...worker.bugs]).toEqual([]);
});
