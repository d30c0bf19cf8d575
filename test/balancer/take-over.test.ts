/**
 * A balancer while workers stop, fail and are taken over, over real sockets: which worker gets requests, which tunnels
 * end, and that no client returns to a lower epoch.
 */

import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createEdgeProbe } from "../../balancer/upstreams/probe.ts";
import { systemClock } from "../../shared/base/clock.ts";
import type { SessionId, SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../shared/base/worker-tag.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { watchMachine } from "../support/machine.ts";
import type { RawSocket } from "../support/sockets.ts";
import {
  keyFor,
  ok,
  type RawWorker,
  type Rig,
  type RigOptions,
  startRawWorker,
  startRig,
  workerRecord,
} from "./rig.ts";
import { sessionRecord } from "./router-rig.ts";

const machine = watchMachine();

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ROOM = "R".repeat(24) as SessionId;
const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";
const PROBE = createEdgeProbe({
  id: "balancer-1" as WorkerId,
  storeHealth: () => ({ state: "up" }),
  edgeKeys: onlyKey(Buffer.alloc(32)),
});

function rigWith(workers: readonly WorkerRecord[], options: RigOptions = {}): Promise<Rig> {
  return startRig({ ...options, workers });
}

/** A worker that responds to probes, upgrades and other requests; once stopped it only accepts. */
interface Stoppable {
  readonly raw: RawWorker;
  readonly record: WorkerRecord;
  stop(): void;
  goOn(): void;
}

async function stoppable(
  id: string,
  response: (head: string) => string = () => ok(`from ${id}`),
): Promise<Stoppable> {
  let isStopped = false;
  const serve = (socket: RawSocket): void => {
    if (isStopped) return;
    for (let head = socket.takeHead(); head !== undefined; head = socket.takeHead()) {
      socket.write(head.startsWith("GET /ct-edge/probe ") ? NO_CONTENT : response(head));
    }
  };
  const raw = await startRawWorker(serve);
  return {
    raw,
    record: workerRecord(id, raw.port),
    stop() {
      isStopped = true;
    },
    goOn() {
      isStopped = false;
      for (const socket of raw.connections) serve(socket);
    },
  };
}

function statusOf(rig: Rig, id: string): string | undefined {
  const upstream = rig.path.router.byId(id as WorkerId);
  return upstream && rig.path.router.statusOfWorker(upstream);
}

function get(key: string): string {
  return `GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nctstickiness: ${key}\r\n\r\n`;
}

function upgrade(key: string, target = "/socket.io/?transport=websocket"): string {
  return `GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nctstickiness: ${key}\r\n\r\n`;
}

/** 101 with the headers of an epoch. */
function accepted(epoch?: number): string {
  const accept = createHash("sha1")
    .update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${marks(epoch)}\r\n`;
}

function marks(epoch: number | undefined): string {
  return epoch === undefined ? "" : `x-ct-session: ${ROOM}\r\nx-ct-epoch: ${epoch}\r\n`;
}

describe("a worker that is stopped", () => {
  test("a stopped worker gets no requests after 3 s though it accepts, and gets requests again once it responds", async () => {
    const a = await stoppable("a");
    const b = await stoppable("b");
    const rig = await rigWith([a.record, b.record], { probe: PROBE });
    const key = keyFor(rig, "a");
    expect(await rig.ask(get(key))).toContain("from a");
    a.stop();
    const stoppedMs = performance.now();
    await expect.poll(() => statusOf(rig, "a"), { interval: 10, timeout: 5000 }).toBe("unhealthy");
    expect(performance.now() - stoppedMs).toBeLessThan(
      machine.limitMs(stoppedMs, { promisedMs: 3000, waitsMs: 2500 }),
    );
    expect(await rig.ask(get(key))).toContain("from b");
    expect(rig.path.router.byId(a.record.id)?.health).toMatchObject({
      lastFailure: { reason: "no-response", by: "probe" },
    });

    a.goOn();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("healthy");
    expect(await rig.ask(get(key))).toContain("from a");
  });

  test("a stopped worker keeps its tunnels until its lease expires", async () => {
    const a = await stoppable("a", () => accepted(3));
    const b = await stoppable("b");
    const rig = await rigWith([a.record, b.record], { probe: PROBE });
    const client = await rig.send(upgrade(keyFor(rig, "a")));
    expect(await client.head()).toContain("101");
    a.stop();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("unhealthy");
    expect(client.ended).toBe(false);
    rig.view.set([b.record]);
    await client.end();
    expect(rig.path.router.gone).toMatchObject([{ id: "a" }]);
  });

  test("a request that a worker's earlier incarnation lost is not sent to its next one, which may be lost too", async () => {
    const silent = await startRawWorker();
    const failing = await startRawWorker(({ socket }) => socket.destroy());
    const b = await stoppable("b");
    const rig = await rigWith([workerRecord("a", silent.port), b.record]);
    const asked = rig.ask(get(keyFor(rig, "a")));
    await (await silent.connection(0)).has("GET / ");
    rig.view.set([workerRecord("a", failing.port), b.record]);
    expect(await asked).toContain("from b");
    expect(failing.connections).toEqual([]);
  });

  test("requests at a stopped worker go to other workers when its lease expires", async () => {
    const a = await stoppable("a");
    const b = await stoppable("b");
    const rig = await rigWith([a.record, b.record], { probe: PROBE });
    const key = keyFor(rig, "a");
    a.stop();
    const asked = rig.ask(get(key));
    const posted = rig.ask(
      get(key).replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
    );
    await expect
      .poll(() => a.raw.connections.filter(({ text }) => /^(GET|POST) \/ /.test(text)).length)
      .toBe(2);
    rig.view.set([b.record]);
    expect(await asked).toContain("from b");
    expect(await posted).toContain("502 Bad Gateway");
  });
});

describe("most workers that fail probes", () => {
  test("when most workers fail probes, those with a lease count as healthy: the balancer has the problem", async () => {
    const workers = await Promise.all(["a", "b", "c"].map((id) => stoppable(id)));
    let isIll = false;
    const rig = await rigWith(
      workers.map((worker) => worker.record),
      {
        probe: {
          async ask({ id }) {
            if (isIll && id !== "a") throw new DOMException("too slow", "TimeoutError");
          },
        },
      },
    );
    isIll = true;
    await expect.poll(() => rig.path.router.isPanicking, { timeout: 5000 }).toBe(true);
    expect(rig.path.router.usable).toBe(3);
    for (const id of ["a", "b", "c"]) {
      expect(await rig.ask(get(keyFor(rig, id)))).toContain(`from ${id}`);
    }
    isIll = false;
    await expect.poll(() => rig.path.router.isPanicking, { timeout: 5000 }).toBe(false);
  });

  test("when most workers fail probes, one that also fails a request gets no more", async () => {
    const workers = await Promise.all(["a", "b", "c"].map((id) => stoppable(id)));
    const rig = await rigWith(
      workers.map(({ record }) => record),
      {
        probe: {
          async ask({ id }) {
            if (id !== "a") throw new DOMException("too slow", "TimeoutError");
          },
        },
      },
    );
    await expect.poll(() => rig.path.router.isPanicking, { timeout: 5000 }).toBe(true);
    await workers[1]?.raw.close();
    const key = keyFor(rig, "b");
    expect(await rig.ask(get(key))).not.toContain("from b");
    expect(statusOf(rig, "b")).toBe("unhealthy");
  });
});

describe("a session whose owner is unhealthy", () => {
  test("a session of an unhealthy owner goes to the next candidate, and stays there once that has taken over", async () => {
    const a = await stoppable("a");
    const b = await stoppable("b", () => ok("from b", marks(8)));
    const rig = await rigWith([a.record, b.record], { probe: PROBE });
    rig.records.set(ROOM, sessionRecord(ROOM, "a", 7));
    expect(await rig.ask(get(ROOM))).toContain("from a");
    a.stop();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("unhealthy");
    expect(await rig.ask(get(ROOM))).toContain("from b");
    rig.records.set(ROOM, sessionRecord(ROOM, "b", 8));
    a.goOn();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("healthy");
    expect(await rig.ask(get(ROOM))).toContain("from b");
  });

  test("a session of an unhealthy owner waits while the candidate names that owner, until it has taken over", async () => {
    let hasTakenOver = false;
    const a = await stoppable("a");
    const b = await stoppable("b", () =>
      hasTakenOver
        ? ok("from b", marks(8))
        : `HTTP/1.1 421 Misdirected Request\r\nx-ct-owner: a\r\nx-ct-epoch: 7\r\nx-ct-key: ${ROOM}\r\nContent-Length: 0\r\n\r\n`,
    );
    const rig = await rigWith([a.record, b.record], { probe: PROBE });
    rig.records.set(ROOM, sessionRecord(ROOM, "a", 7));
    a.stop();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("unhealthy");
    const asked = rig.ask(get(ROOM));
    await expect
      .poll(() => rig.counters.value("balancer.misdirected", "owner-not-reached"))
      .toBeGreaterThan(1);
    hasTakenOver = true;
    expect(await asked).toContain("from b");
    expect(rig.counters.value("balancer.held")).toBe(1);
  });

  test("a session of an unhealthy owner does not go to a draining worker", async () => {
    const a = await stoppable("a");
    const b = await stoppable("b");
    const c = await stoppable("c");
    const rig = await rigWith([a.record, { ...b.record, state: "draining" }, c.record], {
      probe: PROBE,
    });
    rig.records.set(ROOM, sessionRecord(ROOM, "a", 7));
    a.stop();
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("unhealthy");
    expect(await rig.ask(get(ROOM))).toContain("from c");
  });
});

test("without workers that take new sessions, requests wait for a session whose owner is gone, but not for one without a record", async () => {
  const b = await stoppable("b");
  const rig = await rigWith([{ ...b.record, state: "draining" }]);
  rig.records.set(ROOM, sessionRecord(ROOM, "a", 7));
  const waiting = rig.ask(get(ROOM));
  await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
  expect(await rig.ask(get("another"))).toContain("503 Service Unavailable");
  const a = await stoppable("a");
  rig.view.set([...rig.view.workers, a.record]);
  expect(await waiting).toContain("from a");
});

test("with a stale owner cache every request succeeds within two hops, and the next one goes to the owner directly", async () => {
  const rooms = Array.from({ length: 300 }, (_, i) => `room-${i}`.padEnd(24, "x"));
  const ids = ["a", "b", "c"];
  /** Session `i` was at worker `i` in epoch 1, then at the next one, and is now at the one after; some moved once only. */
  const at = (room: string, moves: number) => ids[(rooms.indexOf(room) + moves) % 3] ?? "";
  const movesOf = (room: string) => 1 + (rooms.indexOf(room) % 2);
  const workers = await Promise.all(
    ids.map((id) =>
      stoppable(id, (head) => {
        const room = /ctstickiness: (\S+)/.exec(head)?.[1] ?? "";
        const owner = at(room, movesOf(room));
        if (owner === id) return ok(`from ${id}`, `x-ct-session: ${room}\r\nx-ct-epoch: 9\r\n`);
        // The first owner names the second one only.
        const known = at(room, 0) === id ? at(room, 1) : owner;
        const epoch = known === owner ? 9 : 5;
        return `HTTP/1.1 421 Misdirected Request\r\nx-ct-owner: ${known}\r\nx-ct-epoch: ${epoch}\r\nx-ct-key: ${room}\r\nContent-Length: 0\r\n\r\n`;
      }),
    ),
  );
  const rig = await rigWith(
    workers.map((worker) => worker.record),
    {
      savedOwners: rooms.map((room) => [
        room as SessionKey,
        { worker: at(room, 0) as WorkerId, epoch: 1 },
      ]),
    },
  );
  const replays = () => rig.counters.value("balancer.misdirected", "replayed");
  const askAll = async (): Promise<void> => {
    for (const room of rooms) {
      expect(await rig.ask(get(room))).toContain(`from ${at(room, movesOf(room))}`);
    }
  };
  await askAll();
  expect(replays()).toBe(450);
  await askAll();
  expect(replays()).toBe(450);
  expect(rig.counters.value("balancer.failed")).toBe(0);
  expect(rig.lookups).toBe(0);
});

describe("a worker that refuses and was taken over", () => {
  test("a worker that refuses connections and was taken over is down: its tunnels and requests end, and it may come back", async () => {
    const a = await stoppable("a", (head) =>
      head.includes("Upgrade: websocket") ? accepted(7) : "",
    );
    const b = await stoppable("b");
    const rig = await rigWith([a.record, b.record], { probe: PROBE, isLinked: false });
    const key = keyFor(rig, "a");
    const tunnel = await rig.send(upgrade(key));
    expect(await tunnel.head()).toContain("101");
    const waiting = rig.ask(get(key));
    await expect.poll(() => rig.path.router.byId(a.record.id)?.requests).toBe(1);
    // Its port is closed and its connections stay open, as when only its kernel still runs.
    const port = a.raw.port;
    a.raw.stopListening();
    await rig.ask(get(key));
    await expect.poll(() => statusOf(rig, "a")).toBe("unhealthy");
    expect(tunnel.ended).toBe(false);

    rig.path.router.learn(ROOM, b.record.id, 8);
    expect(statusOf(rig, "a")).toBe("down");
    await tunnel.end();
    expect(await waiting).toContain("from b");

    await startRawWorker((socket) => {
      if (socket.takeHead() !== undefined) socket.write(NO_CONTENT);
    }, port);
    await expect.poll(() => statusOf(rig, "a"), { timeout: 5000 }).toBe("healthy");
  });
});

describe("a lower epoch", () => {
  /** Worker `a` does not know that `b` has taken the session over in epoch 8. */
  async function stale(response: (head: string) => string) {
    const a = await stoppable("a", response);
    const b = await stoppable("b", (head) =>
      head.includes("Upgrade: websocket") ? accepted(8) : ok("from b", marks(8)),
    );
    const rig = await rigWith([a.record, b.record]);
    rig.path.router.learn(ROOM, b.record.id, 8);
    return { a, b, rig };
  }

  test("a 101 with a lower epoch gives the client a tunnel to the owner instead", async () => {
    const { rig } = await stale(() => accepted(7));
    const client = await rig.send(upgrade(keyFor(rig, "a")));
    expect(await client.head()).toContain("101");
    await expect.poll(() => rig.path.router.byId("b" as WorkerId)?.inFlight).toBe(1);
    expect(rig.counters.value("balancer.outdated")).toBe(1);
  });

  test("a polling handshake with a lower epoch gives the client the owner's response", async () => {
    const { rig } = await stale(() => ok("from a", marks(7)));
    expect(await rig.ask(get(keyFor(rig, "a")))).toContain("from b");
    expect(rig.counters.value("balancer.outdated")).toBe(1);
  });

  test("a response with a lower epoch to a request that only its worker can serve is refused", async () => {
    const { a, rig } = await stale(() => accepted(7));
    const sid = taggedId(workerTag(a.record.id, a.record.incarnation));
    const client = await rig.send(upgrade("another", `/socket.io/?transport=websocket&sid=${sid}`));
    expect(await client.head()).toContain("503 Service Unavailable");
  });

  test("a response with a lower epoch to a request whose body is not in the replay buffer is refused", async () => {
    const { rig } = await stale(() => ok("from a", marks(7)));
    const body = "x".repeat(65_537);
    const response = await rig.ask(
      `POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nctstickiness: ${keyFor(rig, "a")}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(response).toContain("503 Service Unavailable");
    expect(response).toContain("EDGE_SESSION_MOVING");
  });

  test("an open tunnel with a lower epoch ends, and one to the owner does not", async () => {
    const { b, rig } = await stale(() => accepted(9));
    const before = await rig.send(upgrade(keyFor(rig, "a")));
    expect(await before.head()).toContain("101");
    rig.path.router.learn(ROOM, b.record.id, 10);
    await before.end();
    const after = await rig.send(upgrade(ROOM));
    expect(await after.head()).toContain("101");
    rig.path.router.learn(ROOM, b.record.id, 11);
    after.write("still there");
    await expect
      .poll(() => b.raw.connections.some(({ text }) => text === "still there"))
      .toBe(true);
    expect(after.ended).toBe(false);
  });

  test("a lower epoch at the same worker ends nothing", async () => {
    const a = await stoppable("a", () => accepted(7));
    const rig = await rigWith([a.record]);
    const client = await rig.send(upgrade(ROOM));
    expect(await client.head()).toContain("101");
    rig.path.router.learn(ROOM, a.record.id, 8);
    client.write("still there");
    await expect
      .poll(() => a.raw.connections.some(({ text }) => text === "still there"))
      .toBe(true);
    expect(client.ended).toBe(false);
    // Another incarnation is another worker.
    const reborn = workerRecord("a", a.raw.port);
    rig.view.set([reborn]);
    await client.end();
  });
});

test("many tunnels to a worker that is down end in steps, all within a little more than a second", async () => {
  const count = 200;
  const a = await stoppable("a", () => accepted());
  const rig = await rigWith([a.record]);
  const clients = await Promise.all(
    Array.from({ length: count }, async () => {
      const client = await rig.send(upgrade(ROOM));
      await client.head();
      return client;
    }),
  );
  const endsMs: number[] = [];
  for (const client of clients) {
    client.socket.once("end", () => endsMs.push(systemClock.nowMs()));
  }
  rig.view.set([]);
  await expect.poll(() => endsMs.length, { timeout: 10_000 }).toBe(count);
  // 25 in a step of 50 ms: 8 steps.
  expect(Math.max(...endsMs) - Math.min(...endsMs)).toBeGreaterThan(250);
});
