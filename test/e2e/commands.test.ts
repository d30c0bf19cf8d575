/**
 * The commands that inspect a running edge, as processes: on one machine, with Redis, and with the store away.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { ListedEvent } from "../../edge/commands/cluster/events.ts";
import type { ListAnswer } from "../../edge/commands/cluster/list.ts";
import type { SessionsResponse } from "../../edge/commands/cluster/sessions.ts";
import {
  newIncarnation,
  newSessionId,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { VERSION } from "../../shared/process/version.ts";
import { findStoreSocket } from "../../shared/store/embedded/data-dir.ts";
import type { SessionRecord, Store } from "../../shared/store/store.ts";
import { peer } from "../contract/store.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { type CommandResult, PROGRAM, runCommand } from "../support/command.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { connectStore } from "../support/embedded-store.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { everybodyHears, openSession, person } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { openStore, startRedis } from "../support/redis.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Clears the screen and reverses the writing direction. */
const HOSTILE_NAME = "\u001b[2J\u009b31mEve\u202e\r\n";
const COMMANDS = ["list", "sessions", "events", "explain"] as const;

describe("an edge on one machine", () => {
  let edge: EdgeProcess;

  beforeAll(async () => {
    edge = await startEdge();
  });

  const run = (...args: string[]) => runCommand(args, { CT_DATA_DIR: edge.dataDir });

  test("ct-edge list shows the processes of an edge on one machine as JSON", async () => {
    const { status, stdout } = await run("list", "--json");
    const answer = JSON.parse(stdout) as ListAnswer;
    expect(status).toBe(0);
    expect(
      answer.workers.map(({ id, url, state, version }) => ({ id, url, state, version })),
    ).toEqual(
      edge.readFile().workers.map(({ id, port }) => ({
        id,
        url: `http://127.0.0.1:${port}`,
        state: "up",
        version: VERSION,
      })),
    );
    expect(answer.balancers).toHaveLength(1);
    expect(answer).toMatchObject({ ignored: 0, settled: expect.any(Boolean) as boolean });
    const rings = [...answer.workers, ...answer.balancers].map((one) => one.ringFingerprint);
    expect(new Set(rings)).toEqual(new Set([answer.ringFingerprint]));
  });

  test.runIf(HAS_LINKS)(
    "ct-edge list has an open link to each worker, with a stream for each person, and explain names it",
    async () => {
      const { sessionId } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2 });
      const owner = await until("the people's streams are listed", async () => {
        const { workers } = JSON.parse((await run("list", "--json")).stdout) as ListAnswer;
        const isOpen = workers.every(({ link }) => link?.state === "open" && link.links > 0);
        return isOpen && workers.find(({ link }) => (link?.streams ?? 0) >= 3);
      });
      expect(owner.link).toMatchObject({ balancers: 1, open: 1, errors: 0 });
      expect(owner.link?.framesIn).toBeGreaterThan(10);
      expect(owner.link?.bytesOut).toBeGreaterThan(1000);
      const { stdout } = await run("list");
      expect(stdout).toMatch(/^KIND .* LAG {2}LINK {2}STREAMS /m);
      expect(stdout).toMatch(new RegExp(`^worker +${owner.id} .* ms {2}open +\\d+ `, "m"));
      const explained = await run("explain", sessionId);
      expect(explained.stdout).toMatch(/^balancer-\w{8} +worker-\d .*; over the link$/m);
    },
  );

  test("ct-edge sessions shows a session with its people, and only the beginning of its key", async () => {
    const alias = "a key that is as good as an invitation";
    const headers = { ctstickiness: alias };
    const { sessionId } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2, headers });
    const shown = `${sessionId.slice(0, 6)}…`;
    const row = await until("the session is listed with everybody", async () => {
      const { stdout } = await run("sessions");
      return stdout.split("\n").find((line) => line.startsWith(shown) && line.includes("Guest 2"));
    });
    expect(row.replace(/ +/g, " ")).toMatch(
      /^\w{6}… open worker-\d \d+ \d+s 1 2 a key … Host, Guest 1, Guest 2$/,
    );

    for (const args of [["sessions"], ["sessions", "--json"], ["events"], ["events", "--json"]]) {
      const [{ status, stdout }, full] = await Promise.all([run(...args), run(...args, "--full")]);
      expect(status).toBe(0);
      expect(stdout).toContain(shown);
      expect(stdout).not.toContain(sessionId);
      expect(stdout).not.toContain(alias);
      expect(full.stdout).toContain(sessionId);
    }
    const { stdout } = await run("sessions", "--json", "--full");
    const { sessions } = JSON.parse(stdout) as SessionsResponse;
    expect(sessions.find(({ id }) => id === sessionId)).toMatchObject({
      alias,
      state: "open",
      ownerState: "lives",
      peers: [
        { name: "Host", host: true },
        { name: "Guest 1", host: false },
        { name: "Guest 2", host: false },
      ],
    });
  });

  test("ct-edge remove removes a guest by name, and the others stay", async () => {
    const { sessionId, host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2 });
    const { stdout } = await run("remove", "Guest 1", "--session", sessionId.slice(0, 10));
    expect(stdout).toMatch(
      /^remove Guest 1 from .*the person is removed; the others are notified\n$/,
    );
    await until("the others hear of it", () => host.left.length === 1);
    expect(host.left[0]?.name).toBe("Guest 1");
    await everybodyHears(host, guests.slice(1), "we go on");
    const again = await run("remove", "Guest 1", "--session", sessionId);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain("nobody called Guest 1 is in the session; its guests: Guest 2");
  });

  test("a locked session lets nobody new in until it is unlocked", async () => {
    const { sessionId } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
    const key = sessionId.slice(0, 10);
    expect((await run("lock", key)).stdout).toContain("no new guests are let in");
    const { sessions } = JSON.parse(
      (await run("sessions", "--json", "--full")).stdout,
    ) as SessionsResponse;
    expect(sessions.find(({ id }) => id === sessionId)?.locked).toBe(true);
    const late = person({ baseUrl: edge.httpUrl, name: "Late" });
    await expect(late.join(sessionId)).rejects.toThrow("The session is locked");
    const unlocked = JSON.parse((await run("unlock", key, "--json")).stdout) as object;
    expect(unlocked).toMatchObject({ locked: false, outcome: "done" });
    await late.join(sessionId);
  });

  test("ct-edge events shows the history of one session by its id or the beginning of it", async () => {
    const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
    await openSession({ baseUrl: edge.httpUrl, guestCount: 0 });
    await host.leave();
    const whole = await until("the history is written", async () => {
      const { stdout } = await run("events", "--json", "--session", sessionId);
      const events = stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as ListedEvent);
      return events.at(-1)?.kind === "closed" && { stdout, events };
    });
    expect(whole.events[0]?.kind).toBe("created");
    expect(whole.events.map(({ atMs }) => atMs)).toEqual(
      whole.events.map(({ atMs }) => atMs).sort((a, b) => a - b),
    );
    const begins = sessionId.slice(0, 6);
    expect(new Set(whole.events.map(({ session }) => session))).toEqual(new Set([`${begins}…`]));
    for (const given of [begins, `${begins}…`]) {
      expect((await run("events", "--json", "--session", given)).stdout).toBe(whole.stdout);
    }
    const last = await run("events", "--json", "--session", begins, "--limit", "1");
    expect(last.stdout).toBe(`${whole.stdout.trimEnd().split("\n").at(-1)}\n`);

    expectRefusal(await run("events", "--session", "000000"), "no session id begins with 000000");
    expectRefusal(
      await run("events", "--session", "../x"),
      "--session must be the id of a session",
    );
    expect((await run("events", "--session", newSessionId())).stdout).toBe("No events.\n");
  });

  test("ct-edge explain says where a key, a room and a new session go, with one balancer", async () => {
    const headers = { ctstickiness: "team-explained" };
    const { sessionId } = await openSession({ baseUrl: edge.httpUrl, guestCount: 0, headers });
    const owner = await until("the session is listed", async () => {
      const { stdout } = await run("sessions", "--json", "--full");
      const { sessions } = JSON.parse(stdout) as SessionsResponse;
      return sessions.find(({ id }) => id === sessionId)?.owner;
    });
    const results = await Promise.all(
      ["team-explained", `${sessionId.slice(0, 8)}…`].map((about) => run("explain", about)),
    );
    for (const { status, stdout } of results) {
      expect(stdout).toMatch(new RegExp(`^balancer-\\w{8} +${owner} +${owner} +it `, "m"));
      expect(stdout).toMatch(/ created +worker-\d +\d+ +create$/m);
      expect(stdout).not.toContain(sessionId);
      expect(status).toBe(0);
    }
    const free = await run("explain");
    expect(free).toMatchObject({ status: 0, stderr: "" });
    expect(free.stdout).toMatch(/^Rule +none$/m);

    const { stdout } = await run("explain", "team-explained", "--json");
    const { balancers } = JSON.parse(stdout) as { balancers: readonly unknown[] };
    expect(balancers).toMatchObject([
      {
        explanation: {
          candidates: expect.arrayContaining([{ worker: owner, as: "owner", status: "available" }]),
          // With the names of the version before.
          notes: expect.arrayContaining([{ worker: owner, as: "owner", verdict: "fit" }]),
          workers: expect.arrayContaining([
            expect.objectContaining({ id: owner, status: "healthy", health: "up" }),
          ]),
        },
      },
    ]);
  });

  test("ct-edge list shows the processes of an edge on one machine in a table", async () => {
    // A store that has just started reports for a few seconds that it is not settled; the tests above take about as long.
    const { stdout } = await until("the store has settled", async () => {
      const result = await run("list");
      expect(result).toMatchObject({ status: 0, stderr: "" });
      return !result.stdout.includes("!") && result;
    });
    const [titles, ...rows] = stdout.trimEnd().split("\n");
    expect(titles).toMatch(
      /^KIND +ID +STATE +SESSIONS +CONNECTIONS +LAG +LINK +STREAMS +WAITING +INCARNATION +RING /,
    );
    expect(rows.map((row) => row.split(/ +/).slice(0, 3).join(" "))).toEqual([
      expect.stringMatching(/^balancer balancer-\w{8} -$/) as string,
      "worker worker-1 up",
      "worker worker-2 up",
    ]);
  });

  test("ct-edge sessions shows a session whose owner is gone, and escapes names that would control the terminal", async () => {
    const store = await connectStore(findStoreSocket(edge.dataDir) ?? "");
    const record = await plantSession(store, "worker-9");
    const { stdout } = await run("sessions");
    const row = stdout.split("\n").find((line) => line.startsWith(record.id.slice(0, 6))) ?? "";
    expect(row).toContain(" worker-9 (gone) ");
    expect(row).toContain("\\u001b[2J\\u009b31mEve\\u202e\\u000d\\u000a");
    for (const text of [stdout, (await run("sessions", "--json")).stdout]) {
      expect(text).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
    }
  });

  test("ct-edge list ends without an error when the reader of its output stops early", async () => {
    const results = await Promise.all(COMMANDS.map((command) => run(command)));
    for (const { status } of results) expect(status).toBe(0);
    const shell = spawnSync(
      "bash",
      ["-c", 'set -o pipefail; "$0" "$1" events | true && echo fine', process.execPath, PROGRAM],
      { env: { ...process.env, CT_DATA_DIR: edge.dataDir }, encoding: "utf8" },
    );
    expect(shell).toMatchObject({ stdout: "fine\n", stderr: "" });
  });
});

test("with CT_LINK=off people join over connections of their own, and list and explain say so", async () => {
  const edge = await startEdge({ env: { CT_LINK: "off" } });
  const run = (...args: string[]) => runCommand(args, { CT_DATA_DIR: edge.dataDir });
  const { sessionId } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  await until("the links are reported", async () => {
    const { workers } = JSON.parse((await run("list", "--json")).stdout) as ListAnswer;
    return workers.every(({ link }) => link?.state === "off" && link.links + link.streams === 0);
  });
  expect((await run("list")).stdout).toMatch(/^worker +worker-1 .* ms {2}off +0 /m);
  const { stdout } = await run("explain", sessionId);
  expect(stdout).toMatch(/; over a connection of its own: CT_LINK=off$/m);
});

describe("an edge of many machines", () => {
  let cluster: Cluster;
  let folder: string;

  beforeAll(async () => {
    cluster = await startCluster({ workers: 2, balancers: 1 });
    folder = tempFolder();
  });

  function file(name: string, text: string): string {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  }

  test("an edge of many machines is found by a flag, a variable, a file of the value, and a file of settings", async () => {
    const url = cluster.redisUrl;
    const results = await Promise.all([
      runCommand(["list", "--redis", url, "--json"]),
      runCommand(["list", "--redis-url", url, "--json"]),
      runCommand(["list", "--json"], { CT_REDIS_URL: url }),
      runCommand(["list", "--json"], { CT_REDIS_URL_FILE: file("url", `${url}\n`) }),
      runCommand(["list", "--json", "--config", file("env", `CT_REDIS_URL=${url}\n`)]),
    ]);
    for (const { status, stdout, stderr } of results) {
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const { workers, balancers } = JSON.parse(stdout) as ListAnswer;
      expect(workers.map(({ id }) => id)).toEqual(["worker-1", "worker-2"]);
      expect(balancers).toHaveLength(1);
    }
  });

  test("an edge of many machines shows its sessions and their history when an owner is gone", async () => {
    const at = { baseUrl: cluster.balancers[0]?.url ?? "" };
    const { sessionId } = await openSession({ ...at, guestCount: 1 });
    const run = (...args: string[]) => runCommand([...args, "--redis", cluster.redisUrl]);
    const shown = `${sessionId.slice(0, 6)}…`;
    await until("the session is listed with everybody", async () => {
      const { stdout } = await run("sessions");
      return stdout.includes(shown) && stdout.includes(" Host, Guest 1\n");
    });
    const { stdout } = await run("events", "--session", sessionId.slice(0, 6));
    expect(stdout.split("\n")[1]).toMatch(/^\d{4}-.*Z +created +\w{6}… +worker-\d +\d+ /);

    const { store } = openStore(cluster.redisUrl);
    const record = await plantSession(store, "worker-9");
    const answer = JSON.parse(
      (await run("sessions", "--json", "--full")).stdout,
    ) as SessionsResponse;
    expect(answer.sessions.find(({ id }) => id === record.id)).toMatchObject({
      owner: "worker-9",
      ownerState: "gone",
      peers: [{ name: HOSTILE_NAME }],
    });
    expect(answer.total).toBe(answer.sessions.length);
    const limited = await run("sessions", "--limit", "1");
    expect(limited.stdout).toContain(`1 of ${answer.total} sessions are listed`);
  });

  test("ct-edge list shows records that can be parsed, and counts the others", async () => {
    const admin = cluster.redis.admin();
    await admin.set("{ct}:member:evil", "nonsense", "PX", 60_000);
    await admin.zadd("{ct}:members", Date.now(), "evil");
    onTestFinished(async () => {
      await admin.del("{ct}:member:evil");
    });
    const { status, stdout } = await runCommand(["list", "--redis", cluster.redisUrl]);
    expect(status).toBe(0);
    expect(stdout).toContain("worker-2");
    expect(stdout).toMatch(
      /^! Member records in the store that cannot be parsed and are not shown: 1; /m,
    );
  });

  test("a wrong password of the store is refused, and is not shown", async () => {
    const redis = await startRedis({ port: true, password: "s3cret" });
    const urlWith = (password: string) => `redis://:${password}@127.0.0.1:${redis.port}`;
    const right = await runCommand(["list", "--redis", urlWith("s3cret")]);
    expect(right).toMatchObject({ status: 0, stderr: "" });
    const result = await runCommand(["list", "--redis", urlWith("wr0ng")]);
    expectRefusal(result, /Redis at 127.0.0.1:\d+: Redis refuses the user or the password; /);
    expect(result.stderr).not.toContain("wr0ng");
    const bad = await runCommand(["list"], { CT_REDIS_URL: "http://user:s3cret@host" });
    expectRefusal(bad, "CT_REDIS_URL=(not shown) is not allowed");
    expect(bad.stderr).not.toContain("s3cret");
  });
});

describe("without a store", () => {
  test("a command without a store says which store it tried and what to do", async () => {
    const url = `redis://:s3cret@127.0.0.1:${await freePort()}`;
    const dataDir = tempFolder();
    for (const command of COMMANDS) {
      const [away, nobody] = await Promise.all([
        runCommand([command], { CT_REDIS_URL: url }),
        runCommand([command, "--data-dir", dataDir]),
      ]);
      expectRefusal(away, /the store cannot be reached: Redis at .*: the connection was refused; /);
      expect(away.stderr).toContain("CT_REDIS_URL");
      expect(away.stderr).not.toContain("s3cret");
      expectRefusal(nobody, `CT_DATA_DIR=${dataDir}: no running edge of this user; `);
    }
    const missing = await runCommand(["list"], { CT_DATA_DIR: join(dataDir, "missing") });
    expectRefusal(missing, "no running edge of this user");
  });

  test("a command gives up a Redis that hangs", async () => {
    const redis = await startRedis({ port: true });
    redis.pause();
    const results = await Promise.all(
      COMMANDS.map((command) =>
        runCommand([command, "--json"], { CT_REDIS_URL: `redis://127.0.0.1:${redis.port}` }),
      ),
    );
    redis.resume();
    for (const result of results) expectRefusal(result, /Redis at .*: no answer /);
  });

  test("a command reports an edge that is suspended or hangs", async () => {
    const edge = await startEdge();
    const env = { CT_DATA_DIR: edge.dataDir };
    process.kill(edge.pid, "SIGSTOP");
    const hanging = await runCommand(["sessions"], env);
    process.kill(edge.pid, "SIGCONT");
    expectRefusal(hanging, /the embedded store cannot be reached \(no response within 2000 ms\); /);
    await edge.stop();
    const stopped = await runCommand(["sessions"], env);
    expectRefusal(stopped, /CT_DATA_DIR=.*: the embedded store cannot be reached \(.*\); start /);
  });
});

// --- helpers ---

/** Status 1, nothing on standard output, one line on standard error. */
function expectRefusal(result: CommandResult, line: string | RegExp): void {
  expect(result).toMatchObject({ status: 1, stdout: "" });
  expect(result.stderr).toMatch(/^ct-edge: [^\n]+\n$/);
  expect(result.stderr).toMatch(line);
}

/** An open session of a missing worker, with a peer whose name is hostile. */
async function plantSession(store: Store, owner: string): Promise<SessionRecord> {
  const created = await store.createSession({
    sessionId: newSessionId(),
    owner: owner as WorkerId,
    incarnation: newIncarnation(),
    alias: "\u001b[2J\u00ff an alias of any bytes" as SessionKey,
    userId: "eve",
    maxPerUser: 10,
  });
  if (created.outcome !== "created") throw new Error(`not created: ${created.outcome}`);
  const { record } = created;
  const holder = { sessionId: record.id, owner: record.owner, epoch: record.epoch };
  await store.changeSession(holder, { kind: "open" });
  await store.changeSession(holder, {
    kind: "put-peer",
    peer: peer({ user: { id: "eve", name: HOSTILE_NAME } }),
  });
  return record;
}
