/**
 * How single processes of a one-machine edge stop and restart: on an operator's request, on a signal to the process itself, or
 * killed in the middle of it. Sessions continue each time.
 */
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { startCommand } from "../support/command.ts";
import { askEdgeTo, pidsOf, processOf, stateOf } from "../support/edge-commands.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import {
  allOnWebSockets,
  documentsEqual,
  everybodyHears,
  type OpenSession,
  openSession,
} from "../support/people.ts";
import { stillRunning } from "../support/processes.ts";
import { startRedis } from "../support/redis.ts";
import { dutiesOf, dutiesOfWorker, type WorkerDuties } from "../support/status.ts";
import { equalAfter, openTeams } from "../support/teams.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { compareWire } from "../support/wire.ts";

/** Processes start one after the other. */
const SLOW = { timeout: 90_000 };
/** The drain waits for longer than any test. */
const ENDLESS = { CT_DRAIN_DELAY_MS: "600000" };
/** The README's limit for the stop of the whole edge. */
const STOP_MS = 3000;

interface HostedSession extends OpenSession {
  readonly worker: WorkerDuties;
}

/** A session with a guest, and the worker that hosts it. */
async function hostedSession(edge: EdgeProcess): Promise<HostedSession> {
  const session = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  return { ...session, worker: await hostOf(edge, session.sessionId) };
}

function hostOf(edge: EdgeProcess, sessionId: string): Promise<WorkerDuties> {
  return until("a worker hosts the session", async () =>
    (await dutiesOf(edge)).find(({ sessionIds }) => sessionIds.includes(sessionId)),
  );
}

async function isStopping(edge: EdgeProcess, id: string): Promise<void> {
  await until(`${id} is stopping`, async () => (await processOf(edge, id)).state === "stopping");
}

/** Resolves when another process runs under this name, and is ready. */
function comesBack(edge: EdgeProcess, id: string, before: number | null, timeoutMs?: number) {
  return until(
    `another process is ${id}`,
    async () => {
      const now = await processOf(edge, id);
      return now.state === "up" && now.pid !== before && now;
    },
    timeoutMs,
  );
}

/** No client was disconnected or had to join again, documents are equal, and messages arrive. */
async function goesOn({ host, guests, everybody }: OpenSession): Promise<void> {
  const text = `${host.name} at ${performance.now()}`;
  host.write(text);
  await documentsEqual(everybody, [text], 30_000);
  await everybodyHears(host, guests, text);
  for (const client of everybody) {
    expect(client).toMatchObject({ disconnected: false, closedCount: 0, left: [] });
    // A client that was cut off before it sent anything gets its id again.
    expect(new Set(client.infos.map(({ id }) => id)).size).toBe(1);
  }
}

test(
  "two workers that get SIGTERM at the same time are restarted one after the other, and no message is lost",
  SLOW,
  async () => {
    const edge = await startEdge();
    const all = await openTeams({ count: 6, guests: 1, url: () => edge.httpUrl });
    for (const client of all.clients) client.wire.startRecording();
    all.startTyping(1000);
    const before = await pidsOf(edge);

    for (const id of ["worker-1", "worker-2"]) process.kill(before[id] ?? 0, "SIGTERM");

    for (const id of ["worker-1", "worker-2"]) await comesBack(edge, id, before[id] ?? 0);
    await until("all are back", () => all.clients.every((client) => client.isServed));
    await all.stopTyping();
    const figures = await compareWire(all.teams.map(({ everybody }) => everybody));
    expect(figures).toMatchObject({ lost: 0, doubled: 0, reordered: 0, faults: [] });
    await equalAfter(all.teams, performance.now(), 15_000);
    // A requested stop is no failure, however often it happens.
    expect((await stateOf(edge)).processes.map(({ restarts }) => restarts)).toEqual([0, 0, 0]);
    expect(edge.output()).not.toContain("ended unexpectedly");
  },
);

test("a second SIGTERM ends a worker that hands its sessions over at once", SLOW, async () => {
  const edge = await startEdge({ env: ENDLESS });
  const session = await hostedSession(edge);
  const { id, pid } = session.worker;
  process.kill(pid, "SIGTERM");
  await isStopping(edge, id);
  expect((await processOf(edge, id)).pid).toBe(pid);

  process.kill(pid, "SIGTERM");

  expect(await comesBack(edge, id, pid)).toMatchObject({ restarts: 0, lastEnd: "status 0" });
  await goesOn(session);
});

test("a worker that gets SIGTERM while it starts is started again", SLOW, async () => {
  const edge = await startEdge();
  const before = await pidsOf(edge);
  process.kill(before["worker-1"] ?? 0, "SIGKILL");
  const starting = await until("it starts again", async () => {
    const { state, pid } = await processOf(edge, "worker-1");
    return state === "starting" && pid !== null && pid;
  });
  process.kill(starting, "SIGTERM");
  await comesBack(edge, "worker-1", before["worker-1"] ?? 0);
  expect(edge.readFile().workers).toHaveLength(2);
  expect((await pidsOf(edge))["worker-2"]).toBe(before["worker-2"]);
});

test("a balancer that gets SIGTERM is replaced on the same ports", SLOW, async () => {
  const edge = await startEdge();
  const session = await hostedSession(edge);
  const before = edge.readFile();
  process.kill(before.balancer.pid, "SIGTERM");
  await comesBack(edge, "balancer", before.balancer.pid);
  const { httpPort, tlsPort, statusPort } = before;
  expect(edge.readFile()).toMatchObject({ httpPort, tlsPort, statusPort });
  await until("nobody is connected by the former one", () =>
    session.everybody.every((client) => client.reconnectCount > 0 && client.isServed),
  );
  await goesOn(session);
});

test(
  "a worker that hangs when it is restarted is killed when its time to hand over is up, and its sessions go on",
  SLOW,
  async () => {
    const edge = await startEdge({ env: { CT_DRAIN_DELAY_MS: "0", CT_DRAIN_TIMEOUT_MS: "1000" } });
    const session = await hostedSession(edge);
    const { id, pid } = session.worker;
    process.kill(pid, "SIGSTOP");
    const { status, stderr } = await askEdgeTo(edge, "restart", id);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(
      new RegExp(`^${id}: did not stop in time and was killed\n${id}: restarted in .*\n$`),
    );
    expect((await processOf(edge, id)).lastEnd).toBe("SIGKILL");
    await goesOn(session);
  },
);

test(
  "a worker that is killed in the middle of handing over comes back, and its sessions go on",
  SLOW,
  async () => {
    const edge = await startEdge({ env: ENDLESS });
    const session = await hostedSession(edge);
    const { id, pid } = session.worker;
    const restarted = askEdgeTo(edge, "restart", id);
    await isStopping(edge, id);
    process.kill(pid, "SIGKILL");
    expect(await restarted).toMatchObject({ status: 0 });
    expect(await processOf(edge, id)).toMatchObject({ state: "up", lastEnd: "SIGKILL" });
    await goesOn(session);
  },
);

test(
  "a worker that is restarted keeps its sessions until a sibling that died meanwhile is back, and then hands them over",
  SLOW,
  async () => {
    const edge = await startEdge({ env: { CT_DRAIN_DELAY_MS: "5000" } });
    const session = await hostedSession(edge);
    const { id, pid } = session.worker;
    const sibling = (await dutiesOf(edge)).find((other) => other.id !== id);
    const restarted = askEdgeTo(edge, "restart", id);
    await isStopping(edge, id);
    process.kill(sibling?.pid ?? 0, "SIGKILL");

    const { status, stderr } = await restarted;

    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).not.toContain("could not be handed over");
    expect((await processOf(edge, id)).pid).not.toBe(pid);
    expect((await hostOf(edge, session.sessionId)).id).toBe(sibling?.id);
    await goesOn(session);
  },
);

test(
  "a worker without siblings that is restarted hands nothing over, and takes its sessions up again itself",
  SLOW,
  async () => {
    const edge = await startEdge({ env: { ...ENDLESS, CT_WORKER_COUNT: "1" } });
    const session = await hostedSession(edge);
    await allOnWebSockets(session.everybody);
    const { status, stderr } = await askEdgeTo(edge, "restart", "worker-1");
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(/^worker-1: restarted in [\d.]+ s \(pid \d+\)\n$/);
    await until("all are served", () => session.everybody.every(({ isServed }) => isServed));
    await goesOn(session);
    // Over a link, WebSockets wait for the worker.
    const isReconnected = session.everybody.map(({ reconnectCount }) => reconnectCount > 0);
    expect(isReconnected).toEqual(session.everybody.map(() => !HAS_LINKS));
  },
);

test(
  "an edge that is stopped in the middle of a rolling restart ends within 3 s, and its sessions go on",
  SLOW,
  async () => {
    const edge = await startEdge({ env: ENDLESS });
    const session = await hostedSession(edge);
    const processes = edge.descendants();
    const restarted = askEdgeTo(edge, "restart");
    await isStopping(edge, "worker-1");

    const exit = await edge.stop("SIGTERM");

    expect(exit.status).toBe(0);
    expect(exit.tookMs).toBeLessThan(STOP_MS);
    expect(stillRunning(processes)).toEqual([]);
    const { status, stderr } = await restarted;
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /(^|\n)ct-edge: .*(the edge stops; not restarted: worker-2, balancer|has just ended)\n$/,
    );
    await edge.startAgain();
    await goesOn(session);
  },
);

test(
  "an edge all of whose processes get SIGTERM at once, as from systemd, ends within 3 s",
  SLOW,
  async () => {
    const edge = await startEdge({ env: ENDLESS });
    const session = await hostedSession(edge);
    const processes = edge.descendants();
    for (const { pid } of processes) process.kill(pid, "SIGTERM");
    const exit = await edge.stop("SIGTERM");
    expect(exit.status).toBe(0);
    expect(exit.tookMs).toBeLessThan(STOP_MS);
    expect(stillRunning(processes)).toEqual([]);
    await edge.startAgain();
    await goesOn(session);
  },
);

test(
  "the edge makes one change at a time, and reports when one waits or no longer applies",
  SLOW,
  async () => {
    const edge = await startEdge({ env: ENDLESS });
    const { pid } = await processOf(edge, "worker-2");
    const scaled = askEdgeTo(edge, "scale", "--worker-count", "1");
    await isStopping(edge, "worker-2");
    const restarted = askEdgeTo(edge, "restart", "worker-2");
    await until("the edge was asked for a restart", () =>
      /request of an operator.*restart/.test(edge.output()),
    );
    process.kill(pid ?? 0, "SIGKILL");
    expect(await scaled).toMatchObject({ status: 0, stderr: "worker-2: removed\n" });
    expect(await restarted).toEqual({
      status: 1,
      stdout: "",
      stderr:
        "waiting until another change is done\n" +
        "ct-edge: there is no process worker-2; processes are worker-1, balancer\n",
    });
    expect(Object.keys(await pidsOf(edge))).toEqual(["balancer", "worker-1"]);
  },
);

test("a restart continues when its command is interrupted", SLOW, async () => {
  const edge = await startEdge({ env: ENDLESS });
  const { pid } = await processOf(edge, "worker-1");
  const env = { CT_DATA_DIR: edge.dataDir };
  const { child, output, closed } = await startCommand(["restart", "worker-1"], env);
  await isStopping(edge, "worker-1");
  child.kill("SIGINT");
  expect(await closed).toEqual([130, null]);
  expect(output.stderr).toBe(
    "ct-edge: the edge continues with the restart; `ct-edge ps` shows its processes\n",
  );
  process.kill(pid ?? 0, "SIGKILL");
  await comesBack(edge, "worker-1", pid);
});

test(
  "a balancer whose successor cannot start keeps running, and the command prints why",
  SLOW,
  async () => {
    const made = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
    const folder = tempFolder();
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    copyFileSync(made.certificateFile, cert);
    copyFileSync(join(made.dataDir, "tls/key.pem"), key);
    const edge = await startEdge({
      env: {
        CT_WORKER_COUNT: "1",
        CT_TLS_CERT: cert,
        CT_TLS_KEY: key,
      },
    });
    const session = await hostedSession(edge);
    const before = await processOf(edge, "balancer");
    writeFileSync(cert, "no certificate\n");

    const { status, stderr } = await askEdgeTo(edge, "restart", "balancer");

    expect(status).toBe(1);
    expect(stderr).toMatch(/^ct-edge: .*CT_TLS_CERT.*\n$/);
    expect((await processOf(edge, "balancer")).pid).toBe(before.pid);
    expect((await fetch(`${edge.httpUrl}/api/meta`)).status).toBe(200);
    expect(session.everybody.map((client) => client.reconnectCount)).toEqual([0, 0]);

    copyFileSync(made.certificateFile, cert);
    expect(await askEdgeTo(edge, "restart", "balancer")).toMatchObject({ status: 0 });
    await goesOn(session);
  },
);

test(
  "a balancer that hangs when it is restarted is killed, and its successor takes its ports",
  SLOW,
  async () => {
    const edge = await startEdge();
    const session = await hostedSession(edge);
    const { httpPort, balancer } = edge.readFile();
    process.kill(balancer.pid, "SIGSTOP");
    expect(await askEdgeTo(edge, "restart", "balancer")).toMatchObject({ status: 0 });
    expect(await processOf(edge, "balancer")).toMatchObject({ state: "up", lastEnd: "SIGKILL" });
    expect(edge.readFile().httpPort).toBe(httpPort);
    await goesOn(session);
  },
);

test(
  "a worker that gets SIGTERM while its supervisor hangs hands its sessions over by itself",
  SLOW,
  async () => {
    const redis = await startRedis({ port: true });
    const edge = await startEdge({
      env: {
        CT_REDIS_URL: `redis://127.0.0.1:${redis.port}`,
        CT_SECRET: "the secret that the processes of this edge share",
        CT_WORKER_ID: "worker",
      },
    });
    const session = await hostedSession(edge);
    const { id, pid } = session.worker;
    const sibling = edge.readFile().workers.find((other) => other.id !== id)?.id ?? "";
    process.kill(edge.pid, "SIGSTOP");
    onTestFinished(() => void process.kill(edge.pid, "SIGCONT"));

    process.kill(pid, "SIGTERM");

    await until("its sibling hosts the session", async () =>
      (await dutiesOfWorker(edge, sibling)).sessionIds.includes(session.sessionId),
    );
    process.kill(edge.pid, "SIGCONT");
    expect(await comesBack(edge, id, pid)).toMatchObject({ restarts: 0, lastEnd: "status 0" });
    await goesOn(session);
  },
);

test("an edge that is alone in its Redis stops without waiting for a drain", SLOW, async () => {
  const redis = await startRedis({ port: true });
  const edge = await startEdge({
    env: {
      CT_REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      CT_SECRET: "the secret that the processes of this edge share",
      CT_DRAIN_TIMEOUT_MS: "600000",
    },
  });
  const session = await hostedSession(edge);
  expect((await edge.stop("SIGTERM")).status).toBe(0);
  await edge.startAgain();
  await goesOn(session);
});
