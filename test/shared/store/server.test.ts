/** The embedded store as a process: one per data directory, never lost, never ended by what comes over its socket. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import type { Socket } from "node:net";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { newSessionId, type SessionId } from "../../../shared/base/ids.ts";
import { appendEvent, readEvents } from "../../../shared/cluster/history.ts";
import type { Log } from "../../../shared/logs/log.ts";
import { findStoreSocket } from "../../../shared/store/embedded/data-dir.ts";
import type { StoreServer } from "../../../shared/store/embedded/server.ts";
import { HOSTED_COUNTER, type SessionRecord, type Store } from "../../../shared/store/store.ts";
import { peer, worker } from "../../contract/store.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { collectingLog } from "../../support/logs.ts";
import { watchMachine } from "../../support/machine.ts";
import { connectSocket } from "../../support/sockets.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { type StoreProcess, startStoreProcess } from "../../support/store-process.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const machine = watchMachine();

function raise(what: string): never {
  throw new Error(what);
}

describe("the embedded store's server", () => {
  const owner = worker("worker-1");
  let folder: string;
  let dataDir: string;

  beforeEach(() => {
    folder = tempFolder();
    dataDir = path.join(folder, "data");
  });

  const start = (log?: Log): Promise<StoreServer> => startServer({ dataDir, ...(log && { log }) });
  const startProcess = (): Promise<StoreProcess> => startStoreProcess(dataDir);

  /** A bare connection, for what no client of ours would send. */
  const connectRaw = (socketPath: string): Promise<Socket> => connectSocket({ path: socketPath });

  async function createSession(store: Store, sessionId = newSessionId()): Promise<SessionRecord> {
    const created = await store.createSession({
      sessionId,
      owner: owner.id,
      incarnation: owner.incarnation,
      userId: "user",
      maxPerUser: 100_000,
    });
    if (created.outcome !== "created") throw new Error(created.outcome);
    const holder = { sessionId, owner: owner.id, epoch: created.record.epoch };
    await store.changeSession(holder, { kind: "open" });
    await store.changeSession(holder, { kind: "put-peer", peer: peer({ host: true }) });
    return found(store, sessionId);
  }

  async function found(store: Store, id: SessionId): Promise<SessionRecord> {
    const record = await store.findSession(id);
    if (record === undefined) throw new Error("no such session");
    return record;
  }

  describe("its journal", () => {
    it("the embedded store's journal has every acknowledged change after the process was killed", async () => {
      const first = await startProcess();
      const store = await connectStore(first.socketPath);
      const record = await createSession(store);
      await store.putTicket({ kind: "login", token: "t", question: 1, ttlMs: 600_000 });
      await store.answerTicket("login", "t", 2);
      await store.put({ kind: "revoked", key: "jti", untilMs: Date.now() + 600_000 });
      await store.addToCounters({ joins: 3 });
      await store.put({ kind: "agreed", key: "greeting", text: "hello" });
      const event = { kind: "created", worker: owner.id, epoch: 1, cause: "asked" } as const;
      await appendEvent(store, { ...event, sessionId: record.id });
      await first.end("SIGKILL");

      const again = await connectStore((await start()).socketPath);
      expect(await found(again, record.id)).toEqual(record);
      expect(await again.readTicket("login", "t")).toMatchObject({ state: "answered", answer: 2 });
      expect(await again.get("revoked", "jti")).toBe("");
      expect(await again.readCounters("")).toEqual({
        joins: 3,
        [HOSTED_COUNTER]: 1,
      });
      expect(await again.put({ kind: "agreed", key: "greeting", text: "another" })).toBe("hello");
      expect(await readEvents(again, { limit: 9 })).toMatchObject([{ cause: "asked" }]);
      expect(await again.sessionsOf(owner.id)).toEqual([record.id]);
    });

    it("the embedded store's journal loses no acknowledged change when it is killed under load", async () => {
      const first = await startProcess();
      const store = await connectStore(first.socketPath);
      const { id, epoch } = await createSession(store);
      let answered = 0;
      const holder = { sessionId: id, owner: owner.id, epoch };
      const work = (async () => {
        for (;;) answered = Number(await store.changeSession(holder, { kind: "next-clock" }));
      })().catch(() => {});
      await expect.poll(() => answered, { interval: 1 }).toBeGreaterThan(200);
      await first.end("SIGKILL");
      await work;

      const again = await connectStore((await start()).socketPath);
      const { clock } = await found(again, id);
      expect(clock).toBeGreaterThanOrEqual(answered);
      expect(clock).toBeLessThanOrEqual(answered + 1);
    });

    it("the embedded store compacts its journal while 10,000 sessions change, and has all of them after a restart", async () => {
      const clock = createStepClock();
      const server = await startServer({ dataDir, clock });
      const store = await connectStore(server.socketPath);
      const file = path.join(dataDir, "store.journal");
      const files = new Set([fs.statSync(file).ino]);
      const ids = Array.from({ length: 10_000 }, () => newSessionId());
      const records: SessionRecord[] = [];
      for (let i = 0; i < ids.length; i += 500) {
        const some = Promise.all(ids.slice(i, i + 500).map((id) => createSession(store, id)));
        // Compaction begins, goes on and ends while sessions are created and changed.
        clock.advance(3000);
        records.push(...(await some));
        files.add(fs.statSync(file).ino);
      }
      const [{ id, epoch } = raise("no session")] = records;
      const holder = { sessionId: id, owner: owner.id, epoch };
      await Promise.all(
        Array.from({ length: 3000 }, () => store.changeSession(holder, { kind: "next-clock" })),
      );
      expect(files.size).toBeGreaterThan(1);
      await server.close();
      const grownBytes = fs.statSync(file).size;

      const { log: secondLog, lines } = collectingLog();
      const startedMs = performance.now();
      const again = await connectStore((await start(secondLog)).socketPath);
      machine.expectWithin(startedMs, { promisedMs: 5000 });
      expect(lines).toEqual([]);
      expect(grownBytes).toBeLessThan(5 * fs.statSync(file).size);
      expect([...(await again.sessionsOf(owner.id))].sort()).toEqual([...ids].sort());
      const [first, ...others] = await Promise.all(ids.map((one) => found(again, one)));
      expect(first).toEqual({ ...records[0], clock: 3000 });
      expect(others).toEqual(records.slice(1));
    });

    it("the embedded store restores the valid records of a corrupt journal", async () => {
      const server = await start();
      const store = await connectStore(server.socketPath);
      const [one, two] = [await createSession(store), await createSession(store)];
      await server.close();
      const file = path.join(dataDir, "store.journal");
      const text = fs.readFileSync(file, "utf8");
      // Values of a hostile or newer writer: an owner that is no name, a key that belongs to another record.
      const damaged = text
        .replaceAll(`"${one.id}","owner":"worker-1"`, `"${one.id}","owner":"../evil"`)
        .concat(
          `[["session/${two.id}",{"id":"${two.id}"}]]\n[["future/x",1]]\n[["counter/a b",1]]\n[["half`,
        );
      expect(damaged).not.toBe(text);
      fs.writeFileSync(file, damaged);

      const log = collectingLog();
      const again = await connectStore((await start(log.log)).socketPath);
      expect(await again.findSession(one.id)).toBeUndefined();
      expect(await found(again, two.id)).toEqual(two);
      expect(log.lines.join("")).toContain("badLines=5");
      const aside = fs.readdirSync(dataDir).filter((name) => name.includes(".bad-"));
      expect(aside).toHaveLength(1);
      expect(fs.readFileSync(path.join(dataDir, aside[0] ?? ""), "utf8")).toBe(damaged);
    });

    it("the embedded store continues in memory while the disk is full, logs it once, and writes all records when it can", async () => {
      const first = await startProcess();
      const store = await connectStore(first.socketPath);
      const before = await createSession(store);
      // A limit of the kernel: writes fail, the last one after a part of it was written.
      const limit = (bytes: string) =>
        execFileSync("prlimit", [`--pid=${first.pid}`, `--fsize=${bytes}:`]);
      const file = path.join(dataDir, "store.journal");
      limit(`${fs.statSync(file).size + 1000}`);
      const during: SessionRecord[] = [];
      for (let i = 0; i < 20; i++) during.push(await createSession(store));
      const logged = () => first.lines.filter((line) => line.includes("journal"));
      expect(logged()).toHaveLength(1);
      expect(logged()[0]).toContain("ERROR cannot write the journal");
      // What had been written before is whole.
      expect(fs.readFileSync(file, "utf8")).toMatch(/\n$/);
      expect(await found(store, before.id)).toEqual(before);

      limit("unlimited");
      await expect.poll(() => logged(), { timeout: 8000 }).toHaveLength(2);
      expect(logged()[1]).toContain("INFO journal writable again");
      during.push(await createSession(store));
      await first.end("SIGKILL");
      const again = await connectStore((await start()).socketPath);
      for (const record of [before, ...during]) {
        expect(await found(again, record.id)).toEqual(record);
      }
    });
  });

  describe("its data directory", () => {
    it("the embedded store's data directory is made with mode 0700, and the socket with 0600", async () => {
      const { socketPath } = await start();
      expect(fs.statSync(dataDir).mode & 0o777).toBe(0o700);
      expect(fs.statSync(socketPath).mode & 0o777).toBe(0o600);
      expect(fs.statSync(path.dirname(socketPath)).mode & 0o777).toBe(0o700);
      expect(socketPath.startsWith(dataDir)).toBe(true);
      expect(findStoreSocket(dataDir)).toBe(socketPath);
    });

    it("the embedded store's data directory is used by one store at a time, in this process or another", async () => {
      const server = await start();
      const refused = {
        code: "EDGE_STORE_IN_USE",
        message: `CT_DATA_DIR=${dataDir}: another edge uses this data directory; stop it, or set CT_DATA_DIR to another folder`,
      };
      await expect(start()).rejects.toMatchObject(refused);
      await expect(startProcess()).rejects.toThrow(refused.message);
      const store = await connectStore(server.socketPath);
      const record = await createSession(store);
      await server.close();
      expect(fs.existsSync(server.socketPath)).toBe(false);
      const again = await startProcess();
      await expect(start()).rejects.toMatchObject(refused);
      expect(await found(await connectStore(again.socketPath), record.id)).toEqual(record);
    });

    it("the embedded store's data directory is still in use when its process is stopped (SIGSTOP)", async () => {
      const { child } = await startProcess();
      child.kill("SIGSTOP");
      await expect(start()).rejects.toMatchObject({ code: "EDGE_STORE_IN_USE" });
      child.kill("SIGCONT");
    });

    it("the embedded store's data directory is claimed by exactly one of many stores that start together, repeatedly", async () => {
      for (let round = 0; round < 10; round++) {
        const starts = await Promise.allSettled(Array.from({ length: 6 }, () => start()));
        const won = starts.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
        expect(won).toHaveLength(1);
        for (const one of starts) {
          if (one.status === "rejected") {
            expect(one.reason).toMatchObject({ code: "EDGE_STORE_IN_USE" });
          }
        }
        expect(findStoreSocket(dataDir)).toBe(won[0]?.socketPath);
        await won[0]?.close();
      }
      // Nothing piles up.
      expect(fs.readdirSync(dataDir).length).toBeLessThan(5);
    });

    it("the embedded store's data directory is claimed by one of several processes that start after one was killed", async () => {
      const killed = await startProcess();
      await killed.end("SIGKILL");
      expect(fs.existsSync(killed.socketPath)).toBe(true);
      const starts = await Promise.allSettled([startProcess(), startProcess(), startProcess()]);
      expect(starts.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(fs.existsSync(killed.socketPath)).toBe(false);
    });

    it("the embedded store's data directory may have a path that is too long for a socket", async () => {
      dataDir = path.join(folder, "long".repeat(30), "data");
      const server = await start();
      expect(Buffer.byteLength(server.socketPath)).toBeLessThanOrEqual(100);
      await expect(start()).rejects.toMatchObject({ code: "EDGE_STORE_IN_USE" });
      expect(findStoreSocket(dataDir)).toBe(server.socketPath);
      await connectStore(server.socketPath);
      await server.close();
      expect(fs.existsSync(path.dirname(server.socketPath))).toBe(false);

      const killed = await startProcess();
      await killed.end("SIGKILL");
      const again = await start();
      await connectStore(again.socketPath);
      expect(fs.existsSync(path.dirname(killed.socketPath))).toBe(false);
    });

    it("the embedded store's data directory may contain foreign files with our names", async () => {
      fs.mkdirSync(dataDir);
      fs.writeFileSync(path.join(dataDir, "store.owner.7"), "not a link");
      fs.symlinkSync("/nowhere/store-abcdef/store.sock", path.join(dataDir, "store.owner.5"));
      fs.symlinkSync(path.join(dataDir, "precious"), path.join(dataDir, "store.owner.6"));
      fs.writeFileSync(path.join(dataDir, "precious"), "keep");
      await connectStore((await start()).socketPath);
      expect(fs.readFileSync(path.join(dataDir, "precious"), "utf8")).toBe("keep");
    });

    it("the embedded store's data directory is rejected with a one-line error when it cannot be used", async () => {
      const file = path.join(folder, "file");
      fs.writeFileSync(file, "");
      // /proc: Linux's answer there once sent us into an endless loop. Elsewhere it cannot be made either.
      for (const bad of [file, path.join(file, "below"), "/proc/edge"]) {
        dataDir = bad;
        await expect(start()).rejects.toMatchObject({
          code: "EDGE_DATA_DIR",
          message: expect.stringMatching(
            new RegExp(`^CT_DATA_DIR=${bad}: cannot be used \\(.*\\); use a folder`),
          ),
        });
      }
      dataDir = path.join(folder, "data");
      fs.mkdirSync(path.join(dataDir, "store.journal"), { recursive: true });
      await expect(start()).rejects.toMatchObject({ code: "EDGE_DATA_DIR" });
      // It left nothing behind that would keep the next one out.
      fs.rmdirSync(path.join(dataDir, "store.journal"));
      await connectStore((await start()).socketPath);
    });
  });

  describe("its socket", () => {
    const garbage: Record<string, string | Buffer> = {
      "no JSON": "GET / HTTP/1.1\r\n\r\n",
      "bytes that are no text": Buffer.from([0xff, 0xfe, 0x00, 0x0a]),
      "no object": "[1]\n",
      "no id": '{"op":"timeMs","args":[]}\n',
      "an operation that is no text": '{"id":1,"op":{},"args":[]}\n',
      "an empty line": "\n",
      "a line without end": Buffer.alloc(1024 * 1024 + 2, 0x20),
    };
    for (const [what, bytes] of Object.entries(garbage)) {
      it(`the embedded store closes a connection on which ${what} came, and that one only`, async () => {
        const { socketPath } = await start();
        const store = await connectStore(socketPath);
        const socket = await connectRaw(socketPath);
        socket.write(bytes);
        await once(socket, "close");
        expect(await store.timeMs()).toBeGreaterThan(0);
      });
    }

    it("the embedded store describes what is wrong with a request, changes nothing and continues", async () => {
      const { socketPath } = await start();
      const socket = await connectRaw(socketPath);
      socket.setEncoding("utf8");
      const holder = { sessionId: newSessionId(), owner: "a", epoch: 1 };
      const bad: [string, unknown[]][] = [
        ["close", []],
        ["constructor", []],
        ["__proto__", []],
        ["findSession", []],
        ["findSession", [""]],
        ["findSession", ["x".repeat(9000)]],
        ["announce", [{ ...owner, url: "file:///etc/passwd" }]],
        ["changeSession", [holder, { kind: "close", untilMs: "never" }]],
        ["changeSession", [holder, { kind: "other" }]],
        ["closeSession", [holder, "never"]],
        ["addToCounters", [{ "a b": 1 }]],
        ["addToCounters", [{ a: "1" }]],
        ["putTicket", [{ kind: "other", token: "t", question: 1, ttlMs: 1 }]],
        ["appendToStream", ["events", ['{"kind":"created"}']]],
        ["readStream", ["events", { limit: -1 }]],
        ["readEvents", [{ limit: -1 }]],
        ["readEvents", [null]],
        ["put", [{ kind: "agreed", key: "a b", text: "" }]],
        ["get", ["other", "a"]],
      ];
      for (const [op, args] of bad) {
        socket.write(`${JSON.stringify({ id: 5, op, args })}\n`);
        const [answer] = (await once(socket, "data")) as [string];
        expect(JSON.parse(answer)).toEqual({ id: 5, error: expect.any(String) });
      }
      socket.write('{"id":6,"op":"readCounters","args":[""]}\n');
      const [answer] = (await once(socket, "data")) as [string];
      expect(JSON.parse(answer)).toEqual({ id: 6, value: {} });
    });

    it("the embedded store parses requests split into any chunks, and responds in order", async () => {
      const { socketPath } = await start();
      const socket = await connectRaw(socketPath);
      const lines: string[] = [];
      let rest = "";
      socket.setEncoding("utf8").on("data", (text: string) => {
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        lines.push(...parts);
      });
      const request = '{"id":1,"op":"readCounters","args":["ü\u{1f600}"]}\n';
      const bytes = Buffer.from(request + request.replace("1", "2") + request.replace("1", "3"));
      for (const byte of bytes) {
        if (!socket.write(Buffer.of(byte))) await once(socket, "drain");
      }
      await expect.poll(() => lines).toHaveLength(3);
      expect(lines.map((line) => JSON.parse(line))).toEqual(
        [1, 2, 3].map((id) => ({ id, value: {} })),
      );
    });

    it("the embedded store disconnects a client that sends requests and does not read, and serves the others", async () => {
      const { socketPath } = await start();
      const store = await connectStore(socketPath);
      await store.putTicket({
        kind: "login",
        token: "large",
        question: "x".repeat(500_000),
        ttlMs: 600_000,
      });
      const socket = await connectRaw(socketPath);
      socket.pause();
      const question = '{"id":1,"op":"readTicket","args":["login","large"]}\n';
      socket.write(question.repeat(300));
      await expect
        .poll(async () => {
          expect(await store.timeMs()).toBeGreaterThan(0);
          if (!socket.destroyed) socket.write(question);
          return socket.destroyed;
        })
        .toBe(true);
    });

    it("the embedded store disconnects a client that does not read the changes", async () => {
      const { socketPath } = await start();
      const store = await connectStore(socketPath);
      const deaf = await connectRaw(socketPath);
      deaf.pause();
      let isCutOff = false;
      deaf.on("close", () => {
        isCutOff = true;
      });
      // Each change is told with its token; the longest allowed make the most of it.
      await expect
        .poll(
          async () => {
            const tokens = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(4000, "t"));
            await Promise.all(
              tokens.map(async (token) => {
                await store.putTicket({ kind: "login", token, question: 1, ttlMs: 600_000 });
                await store.dropTicket("login", token);
              }),
            );
            if (!deaf.destroyed) deaf.write(" ");
            return isCutOff;
          },
          { timeout: 20_000, interval: 1 },
        )
        .toBe(true);
      expect(await store.timeMs()).toBeGreaterThan(0);
    });

    it("the embedded store sends a change to all clients once, however often it happened in one turn", async () => {
      const { socketPath } = await start();
      const store = await connectStore(socketPath);
      const { id, epoch } = await createSession(store);
      const other = await connectStore(socketPath);
      const heard: unknown[] = [];
      other.onChange((change) => heard.push(change));
      const holder = { sessionId: id, owner: owner.id, epoch };
      await Promise.all(
        Array.from({ length: 100 }, () => store.changeSession(holder, { kind: "next-clock" })),
      );
      await expect.poll(() => heard.length).toBeGreaterThan(0);
      expect(heard.length).toBeLessThan(10);
      expect(heard[0]).toEqual({ subject: "session", sessionId: id });
    });

    it("the embedded store's socket is gone after close, with every connection, and close may be called again", async () => {
      const server = await start();
      const socket = await connectRaw(server.socketPath);
      const closed = once(socket, "close");
      await Promise.all([server.close(), server.close()]);
      await closed;
      expect(fs.existsSync(server.socketPath)).toBe(false);
      await expect(connectRaw(server.socketPath)).rejects.toMatchObject({ code: "ENOENT" });
    });
  });
});
