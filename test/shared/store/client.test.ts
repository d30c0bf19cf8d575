/** The embedded store's client: never waits long, never piles up, comes back by itself. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { describeError } from "../../../shared/base/errors.ts";
import type { SessionKey } from "../../../shared/base/ids.ts";
import { connectEmbeddedStore } from "../../../shared/store/embedded/client.ts";
import type { StoreServer } from "../../../shared/store/embedded/server.ts";
import type { Store, StoreHealth } from "../../../shared/store/store.ts";
import { worker } from "../../contract/store.ts";
import { atEnd, closeAtEnd } from "../../support/at-end.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { collectingLog } from "../../support/logs.ts";
import { watchMachine } from "../../support/machine.ts";
import { outputOf } from "../../support/output.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const machine = watchMachine();

const AWAY = { code: "EDGE_STORE_AWAY" };

describe("the embedded store's client", () => {
  let folder: string;

  beforeEach(() => {
    folder = tempFolder();
  });

  function start(): Promise<StoreServer> {
    return startServer({ dataDir: folder });
  }

  function connect(socketPath: string, clock = systemClock) {
    const { log, lines } = collectingLog();
    const store = closeAtEnd(connectEmbeddedStore({ socketPath, clock, log }));
    const health: StoreHealth[] = [];
    store.onHealth((next) => health.push(next));
    return { store, health, lines };
  }

  /** A server that is not the store: `answer` does what it likes with each connection. */
  async function listen(answer: (socket: net.Socket) => void) {
    const socketPath = path.join(folder, "other.sock");
    const sockets = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      sockets.add(socket);
      answer(socket);
    });
    server.listen(socketPath);
    await once(server, "listening");
    const close = async () => {
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    };
    atEnd(close);
    return { socketPath, sockets, close };
  }

  it("the embedded store's client sends the first requests once it is connected, and is up then", async () => {
    const { socketPath } = await start();
    const { store, health, lines } = connect(socketPath);
    expect(store.health.state).toBe("away");
    expect(await store.get("revoked", "t")).toBeUndefined();
    expect(health).toEqual([{ state: "up" }]);
    expect(lines).toEqual([]);
  });

  it("the embedded store's client matches many pipelined requests with their responses", async () => {
    const { store } = connect((await start()).socketPath);
    const names = Array.from({ length: 2000 }, (_, i) => `n${i}`);
    await Promise.all(names.map((name, i) => store.addToCounters({ [name]: i })));
    const counts = await Promise.all(names.map((name) => store.readCounters(name)));
    for (const [i, name] of names.entries()) expect(counts[i]?.[name]).toBe(i);
  });

  it("the embedded store's client fails at once while the store is away, and recovers soon after it", async () => {
    const server = await start();
    const { store, health, lines } = connect(server.socketPath);
    await store.timeMs();
    await server.close();
    await expect.poll(() => store.health.state).toBe("away");
    const beforeMs = performance.now();
    for (let i = 0; i < 1000; i++) await expect(store.members()).rejects.toMatchObject(AWAY);
    machine.expectWithin(beforeMs, { promisedMs: 1000 });
    expect(health.map(({ state }) => state)).toEqual(["up", "away"]);
    expect(lines.filter((line) => line.includes("store unavailable"))).toHaveLength(1);
  });

  it("the embedded store's client reconnects to a new store at the same path, and is notified of changes again", async () => {
    // The path is the edge's choice, and new at each start; a link gives both starts the same.
    let current = await listen(() => {});
    await current.close();
    const first = await start();
    const relay = async (to: StoreServer) => {
      current = await listen((socket) => {
        const upstream = net.connect(to.socketPath);
        upstream.on("error", () => socket.destroy());
        upstream.on("close", () => socket.destroy());
        socket.on("close", () => upstream.destroy());
        socket.pipe(upstream).pipe(socket);
      });
    };
    await relay(first);
    const { store, health } = connect(current.socketPath);
    const heard: unknown[] = [];
    store.onChange((change) => heard.push(change));
    await store.announce(worker("worker-1"));
    await expect.poll(() => heard).toHaveLength(1);

    await current.close();
    await first.close();
    await expect.poll(() => store.health.state).toBe("away");
    await relay(await start());
    await expect.poll(() => store.health.state).toBe("up");
    expect(await store.renew(worker("worker-1"))).toBe("expired");
    await store.announce(worker("worker-1"));
    await expect.poll(() => heard).toHaveLength(2);
    expect(health.map(({ state }) => state)).toEqual(["up", "away", "up"]);
  });

  it("the embedded store's client rejects pending requests when the connection is lost", async () => {
    const { socketPath, sockets } = await listen(() => {});
    const { store } = connect(socketPath);
    const asked = [store.timeMs(), store.members(), store.findSession("k" as SessionKey)];
    await expect.poll(() => sockets.size).toBe(1);
    for (const socket of sockets) socket.destroy();
    for (const outcome of await Promise.allSettled(asked)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: AWAY });
    }
  });

  it("the embedded store's client drops a store that does not respond within two seconds, and sends nothing to it until it does", async () => {
    const clock = createStepClock();
    const { socketPath, sockets } = await listen((socket) => socket.resume());
    const { store } = connect(socketPath, clock);
    const asked = store.timeMs();
    clock.advance(1999);
    const later = store.members();
    let isSettled = false;
    later
      .catch(() => {})
      .finally(() => {
        isSettled = true;
      });
    await expect.poll(() => sockets.size).toBe(1);
    expect(isSettled).toBe(false);
    clock.advance(1);
    await expect(asked).rejects.toMatchObject(AWAY);
    await expect(later).rejects.toMatchObject(AWAY);
    expect(store.health).toEqual({ state: "away", reason: "no response within 2000 ms" });
    // It connects again, but a connection alone proves nothing.
    clock.advance(1000);
    await expect.poll(() => sockets.size).toBe(2);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
  });

  it("the embedded store's client reconnects at least once a second, however long the store is away", async () => {
    const clock = createStepClock();
    const delays: number[] = [];
    const noted = {
      ...clock,
      after(delayMs: number, action: () => void) {
        delays.push(delayMs);
        return clock.after(delayMs, action);
      },
    };
    const { socketPath, sockets } = await listen((socket) => socket.destroy());
    connect(socketPath, noted);
    await expect
      .poll(
        () => {
          clock.advance(1000);
          return sockets.size;
        },
        { interval: 5 },
      )
      .toBeGreaterThan(15);
    const retries = delays.filter((delayMs) => delayMs !== 2000);
    expect(retries.length).toBeGreaterThanOrEqual(15);
    expect(Math.max(...retries)).toBeLessThanOrEqual(1000);
    expect(Math.min(...retries)).toBeGreaterThanOrEqual(10);
    expect(retries.at(-1)).toBeGreaterThanOrEqual(500);
  });

  it("the embedded store's client disconnects from a server with invalid responses", async () => {
    for (const nonsense of ["HTTP/1.1 400 Bad Request\r\n", "[]\n", '{"id":"x"}\n', "null\n"]) {
      const { socketPath, close } = await listen((socket) => socket.write(nonsense));
      const { store } = connect(socketPath);
      await expect(store.timeMs()).rejects.toMatchObject(AWAY);
      await close();
    }
  });

  it("the embedded store's client survives listeners that throw", async () => {
    const { socketPath } = await start();
    const { store, lines } = connect(socketPath);
    const heard: unknown[] = [];
    store.onChange(() => {
      throw new Error("mine");
    });
    store.onChange((change) => heard.push(change));
    await store.announce(worker("worker-1"));
    await expect.poll(() => heard).toHaveLength(1);
    expect(lines.join("")).toContain("store change listener failed");
    expect(await store.timeMs()).toBeGreaterThan(0);
  });

  it("the embedded store's client rejects requests that the store refuses or that are too large, and stays connected", async () => {
    const { store, health } = connect((await start()).socketPath);
    const refused = { code: "EDGE_STORE_REFUSED" };
    await expect(store.addToCounters({ "a b": 1 })).rejects.toMatchObject(refused);
    const ticket = { kind: "login", token: "secret-token", ttlMs: 1000 } as const;
    const large = store.putTicket({ ...ticket, question: "x".repeat(2 * 1024 * 1024) });
    await expect(large).rejects.toMatchObject(refused);
    await expect(large).rejects.not.toThrow(/secret-token/);
    const wide = store.putTicket({ ...ticket, question: "ü".repeat(600 * 1024) });
    await expect(wide).rejects.toMatchObject(refused);
    expect(await store.timeMs()).toBeGreaterThan(0);
    expect(health).toEqual([{ state: "up" }]);
  });

  it("the embedded store's client limits the number of pending requests", async () => {
    const { socketPath } = await listen((socket) => socket.pause());
    const { store } = connect(socketPath);
    const outcomes: string[] = [];
    for (let i = 0; i < 10_050; i++) {
      store.timeMs().catch((error: Error) => outcomes.push(describeError(error.cause)));
    }
    await expect.poll(() => outcomes.length).toBeGreaterThanOrEqual(50);
    expect(outcomes.slice(0, 50).every((text) => text.includes("too many"))).toBe(true);
  });

  it("the embedded store's client waits in close for pending responses only", async () => {
    const { socketPath } = await start();
    const other: Store = await connectStore(socketPath);
    const { store } = connect(socketPath);
    const added = store.addToCounters({ last: 1 });
    await store.close();
    await added;
    expect(await other.readCounters("last")).toEqual({ last: 1 });

    const { socketPath: silent } = await listen((socket) => socket.resume());
    const { store: waiting } = connect(silent);
    const never = waiting.timeMs();
    const beforeMs = performance.now();
    await Promise.all([waiting.close(), expect(never).rejects.toMatchObject(AWAY)]);
    machine.expectWithin(beforeMs, { promisedMs: 1500, waitsMs: 500 });
  });

  it("the embedded store's client lets the process exit after close, with or without a store", async () => {
    const { socketPath } = await start();
    for (const to of [socketPath, path.join(folder, "nobody.sock")]) {
      const program = `
        import { connectEmbeddedStore } from "./shared/store/embedded/client.ts";
        import { systemClock } from "./shared/base/clock.ts";
        const log = { debug() {}, info() {}, warn() {}, error() {} };
        const store = connectEmbeddedStore({ socketPath: process.argv[1], clock: systemClock, log });
        await store.timeMs().catch(() => {});
        await store.close();
        process.stdout.write("closed");`;
      const child = spawn(
        process.execPath,
        ["--import", "tsx", "--input-type=module", "--eval", program, to],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const output = outputOf(child);
      const [code] = (await once(child, "exit")) as [number];
      expect([code, output.stdout]).toEqual([0, "closed"]);
    }
  });
});
