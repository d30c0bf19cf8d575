/**
 * Sessions outlive the processes that host them: an edge that restarts within 20 s, and a worker that dies. The clients are
 * unmodified and reconnect by themselves.
 */
import { expect, test } from "vitest";
import type { Client } from "../support/clients.ts";
import { runCommand } from "../support/command.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { createGate } from "../support/gate.ts";
import {
  allOnWebSockets,
  documentsEqual,
  everybodyHears,
  type OpenSession,
  openSession,
  person,
} from "../support/people.ts";
import { dutiesOf, type WorkerDuties } from "../support/status.ts";
import { whatTheyKnow } from "../support/teams.ts";
import { until } from "../support/until.ts";

/** A client retries after 0.5 to 1.5 s, then 1 to 3 s, then up to 7.5 s. */
const BACK_MS = 20_000;

test.each([
  { how: "stopped with Ctrl-C", end: (edge: EdgeProcess) => edge.stop("SIGINT") },
  { how: "killed", end: (edge: EdgeProcess) => edge.kill() },
])(
  "a session goes on when the edge is $how and started again",
  async ({ end }) => {
    const edge = await startEdge();
    const { host, guests, everybody } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2 });
    for (const client of everybody) client.write(`${client.name} before`);
    await documentsEqual(everybody, ["Host before", "Guest 1 before", "Guest 2 before"]);
    const before = whatTheyKnow(everybody);

    await end(edge);
    for (const client of everybody) client.write(`${client.name} meanwhile`);
    await edge.startAgain();
    await everybodyIsBack(everybody);

    for (const client of everybody) client.write(`${client.name} after`);
    await documentsEqual(everybody, [
      ...["Host before", "Guest 1 before", "Guest 2 before"],
      ...["Host meanwhile", "Guest 1 meanwhile", "Guest 2 meanwhile"],
      ...["Host after", "Guest 1 after", "Guest 2 after"],
    ]);
    await everybodyHears(host, guests, "we are back");
    expect(await guests[0]?.read(host.id, "src/main.ts")).toBe("Host:src/main.ts");
    expect(await host.read(guests[1]?.id ?? "", "src/main.ts")).toBe("Guest 2:src/main.ts");
    // The same peers, roles and ids; none was approved, announced or removed again.
    expect(whatTheyKnow(everybody)).toEqual(before);
  },
  60_000,
);

test("an edge warms its balancer up, but not when people of an edge that was killed are waiting", async () => {
  const edge = await startEdge({ env: { CT_WARM_UP_MS: "300", CT_LOG_LEVEL: "debug" } });
  const line = "balancer DEBUG warmed up";
  expect(edge.output()).toContain(line);
  await edge.kill();
  const again = await edge.startAgain();
  expect(again.output()).toContain("balancer INFO listening");
  expect(again.output()).not.toContain(line);
});

test("after a restart the session can be joined, left and closed as before", async () => {
  const edge = await startEdge();
  const { sessionId, host, guests, everybody } = await openSession({
    baseUrl: edge.httpUrl,
    guestCount: 2,
  });
  await edge.kill();
  await edge.startAgain();
  await everybodyIsBack(everybody);

  const newcomer = person({ baseUrl: edge.httpUrl, name: "Newcomer" });
  await newcomer.join(sessionId);
  expect(host.joinRequests.map((user) => user.name)).toEqual(["Guest 1", "Guest 2", "Newcomer"]);
  await everybodyHears(newcomer, everybody, "hello, I am new");

  await guests[0]?.leave();
  await until("the others see the guest leave", () =>
    [host, newcomer].every((client) => client.left.length === 1),
  );
  await host.leave();
  await until("the others see the session end", () =>
    [guests[1], newcomer].every((client) => client?.closedCount === 1),
  );
}, 60_000);

test("a killed worker returns under its name, its sessions continue, and nobody is disconnected", async () => {
  const edge = await startEdge();
  const [mine, others] = await sessionsOnBothWorkers(edge);
  const before = whatTheyKnow(mine.session.everybody);
  await allOnWebSockets(mine.session.everybody);

  process.kill(mine.worker.pid, "SIGKILL");
  mine.session.host.write("meanwhile");

  await documentsEqual(mine.session.everybody, ["meanwhile"]);
  await everybodyHears(mine.session.host, mine.session.guests, "we are still here");
  expect(whatTheyKnow(mine.session.everybody)).toEqual(before);
  // Its people may be served before it is: the supervisor told the other worker of its exit.
  const workers = await until("it is up again", async () => {
    const seen = await dutiesOf(edge);
    return seen.every(({ pid }) => pid !== mine.worker.pid) && seen;
  });
  expect(workers.map((worker) => worker.id)).toEqual(["worker-1", "worker-2"]);
  const again = workers.find((worker) => worker.id === mine.worker.id);
  const history = await runCommand(["events", "--session", mine.session.sessionId, "--json"], {
    CT_DATA_DIR: edge.dataDir,
  });
  expect(history.stdout).toMatch(/"kind":"resumed".*"cause":"(exited|restarted)"/);
  // Whichever was first: the restarted worker, or the other one, which heard of the exit.
  expect(workers.flatMap((worker) => worker.sessionIds)).toContain(mine.session.sessionId);
  expect(again?.pid).not.toBe(mine.worker.pid);
  for (const { session } of [mine, others]) {
    expect(session.everybody.map((client) => client.reconnectCount)).toEqual([0, 0]);
  }
}, 60_000);

test("a pending sign-in finishes although its worker is killed", async () => {
  const edge = await startEdge();
  const form = slowForm();
  const client = person({ baseUrl: edge.httpUrl, name: "Slow", beforeSignIn: form.fill });
  const signedIn = inBackground(client.login());
  await form.opened;

  await killWhoeverHoldsThePoll(edge);
  form.send();

  await signedIn;
  expect(await client.provider.validate()).toBe(true);
}, 60_000);

test.each([
  { which: "its worker", kill: killWhoeverHoldsThePoll },
  { which: "every worker", kill: killAllWorkers },
])(
  "a join request that waits while $which is killed finishes",
  async ({ kill }) => {
    const edge = await startEdge();
    const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 0 });
    const approval = slowForm();
    host.decide = () => approval.fill().then(() => "approve");
    const guest = person({ baseUrl: edge.httpUrl, name: "Patient" });
    const joined = inBackground(guest.join(sessionId));
    await approval.opened;

    await allOnWebSockets([host]);
    await kill(edge);
    approval.send();

    await joined;
    await everybodyHears(guest, [host], "finally");
    expect(host.reconnectCount).toBe(0);
    expect(host.joined.map((peer) => peer.name)).toEqual(["Patient"]);
  },
  60_000,
);

test("a pending sign-in and a pending join finish after a restart of the edge, when their requests are retried", async () => {
  const edge = await startEdge();
  const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 0 });
  const approval = slowForm();
  host.decide = () => approval.fill().then(() => "approve");
  const form = slowForm();
  const retrying = { baseUrl: edge.httpUrl, retryRequestsMs: BACK_MS };
  const signingIn = person({ ...retrying, name: "Slow", beforeSignIn: form.fill });
  const signedIn = inBackground(signingIn.login());
  const guest = person({ ...retrying, name: "Patient" });
  const joined = inBackground(guest.join(sessionId));
  await Promise.all([form.opened, approval.opened]);

  await edge.kill();
  await edge.startAgain();
  await everybodyIsBack([host]);
  form.send();
  approval.send();

  await signedIn;
  await joined;
  await everybodyHears(guest, [host], "finally");
}, 60_000);

// --- arrangements ---

async function everybodyIsBack(clients: readonly Client[]): Promise<void> {
  const back = () => clients.every((client) => client.reconnectCount > 0);
  await until("everybody is connected again", back, BACK_MS);
}

interface PlacedSession {
  readonly session: OpenSession;
  readonly worker: WorkerDuties;
}

/** A session on each of the two workers, each with a host and a guest. */
async function sessionsOnBothWorkers(edge: EdgeProcess): Promise<[PlacedSession, PlacedSession]> {
  const found = new Map<string, PlacedSession>();
  const [a, b] = await until("there is a session on each worker", async () => {
    const session = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
    const workers = await dutiesOf(edge);
    const worker = workers.find(({ sessionIds }) => sessionIds.includes(session.sessionId));
    if (worker !== undefined) found.set(worker.id, { session, worker });
    return found.size === 2 && [...found.values()];
  });
  if (a === undefined || b === undefined) throw new Error("a session is missing");
  return [a, b];
}

/** Kills the worker at which a sign-in or a join request is pending. */
async function killWhoeverHoldsThePoll(edge: EdgeProcess): Promise<void> {
  const worker = await until("a worker holds the poll", async () =>
    (await dutiesOf(edge)).find(({ waitingPolls }) => waitingPolls > 0),
  );
  await killWorkers(edge, [worker.pid]);
}

function killAllWorkers(edge: EdgeProcess): Promise<void> {
  return killWorkers(
    edge,
    edge.readFile().workers.map((worker) => worker.pid),
  );
}

/** Resolves when their replacements run: requests sent before that may be refused. */
async function killWorkers(edge: EdgeProcess, pids: readonly number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await until("the workers run again", () =>
    edge.readFile().workers.every(({ pid, port }) => port > 0 && !pids.includes(pid)),
  );
}

/** A background task of a test; awaited later, also when it fails before. */
function inBackground<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}

/** A form, or a host's question, that stays open until the test submits it. */
function slowForm(): { fill: () => Promise<void>; opened: Promise<void>; send: () => void } {
  const [shown, sent] = [createGate(), createGate()];
  const fill = (): Promise<void> => {
    shown.open();
    return sent.opened;
  };
  return { fill, opened: shown.opened, send: sent.open };
}
