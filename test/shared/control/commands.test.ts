import { beforeEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import type { CommandAnswer, EdgeCommand } from "../../../shared/control/command.ts";
import { listenForCommands } from "../../../shared/control/command-listener.ts";
import { sendCommand } from "../../../shared/control/send.ts";
import type { Store } from "../../../shared/store/store.ts";
import { atEnd } from "../../support/at-end.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const WORKER = "w1" as WorkerId;
const log = silentLog();
let member: Store;
let operator: Store;

beforeEach(async () => {
  const server = await startServer();
  member = await connectStore(server.socketPath);
  operator = await connectStore(server.socketPath);
});

function handleCommand(
  how: (command: EdgeCommand) => CommandAnswer,
  { store = member, clock = systemClock }: { store?: Store; clock?: Clock } = {},
): EdgeCommand[] {
  const seen: EdgeCommand[] = [];
  const commandListener = listenForCommands({
    store,
    clock,
    log,
    self: WORKER,
    handleCommand(command) {
      seen.push(command);
      return how(command);
    },
  });
  atEnd(() => commandListener.close());
  return seen;
}

const send = (command: EdgeCommand, to = WORKER) =>
  sendCommand({ store: operator, clock: systemClock }, to, command);

test("a process runs a command once, and the operator gets its result", async () => {
  const seen = handleCommand(() => ({ outcome: "done", message: "suspended" }));
  expect(await send({ kind: "suspend" })).toEqual({ outcome: "done", message: "suspended" });
  expect(await send({ kind: "drain" })).toEqual({ outcome: "done", message: "suspended" });
  expect(seen).toEqual([{ kind: "suspend" }, { kind: "drain" }]);
  expect(await member.ticketsOf("command", WORKER)).toEqual([]);
});

test("a command is run at once while a poll waits for a heartbeat", async () => {
  const clock = createStepClock();
  let polls = 0;
  const deferred = {
    ...member.deferred,
    ticketsOf: () => {
      polls++;
      return new Promise<never>(() => {});
    },
  };
  const store = { ...member, deferred };
  handleCommand(() => ({ outcome: "done", message: "suspended" }), { store, clock });
  clock.advance(5000);
  expect(polls).toBe(1);
  expect(await send({ kind: "suspend" })).toMatchObject({ outcome: "done" });
});

test("a command of which no change notification came is run after the next poll", async () => {
  const clock = createStepClock();
  const store = { ...member, onChange: () => () => {} };
  const seen = handleCommand(() => ({ outcome: "done", message: "" }), { store, clock });
  const sent = send({ kind: "suspend" });
  await expect.poll(() => member.ticketsOf("command", WORKER)).toHaveLength(1);
  expect(seen).toEqual([]);
  clock.advance(5000);
  expect(await sent).toMatchObject({ outcome: "done" });
});

test("a command that fails has a result too", async () => {
  handleCommand(() => {
    throw new Error("no");
  });
  expect(await send({ kind: "resume" })).toEqual({
    outcome: "refused",
    message: "the command failed; see the log of this process",
  });
});

test("a command that this version does not support is refused, and later commands are run", async () => {
  const seen = handleCommand(() => ({ outcome: "done", message: "" }));
  const question = { kind: "dance" };
  await operator.putTicket({ kind: "command", token: "x", question, group: WORKER, ttlMs: 60_000 });
  await expect
    .poll(() => operator.readTicket("command", "x"))
    .toMatchObject({ state: "answered", answer: { outcome: "refused" } });
  expect(await send({ kind: "suspend" })).toMatchObject({ outcome: "done" });
  expect(seen).toEqual([{ kind: "suspend" }]);
});

test("a command for another process is not run", async () => {
  const seen = handleCommand(() => ({ outcome: "done", message: "" }));
  const token = "for-another";
  const question = { kind: "drain" };
  await operator.putTicket({ kind: "command", token, question, group: "w2", ttlMs: 60_000 });
  expect(await send({ kind: "suspend" })).toMatchObject({ outcome: "done" });
  expect(seen).toEqual([{ kind: "suspend" }]);
  expect(await operator.readTicket("command", token)).toMatchObject({ state: "waiting" });
});

// --- one version: `migrate-idle {moves, idleMs}` was `give {shares, calmMs}` ---

const MIGRATE_IDLE: EdgeCommand = {
  kind: "migrate-idle",
  moves: [{ worker: "w2" as WorkerId, count: 3 }],
  idleMs: 60_000,
};
const GIVE = { kind: "give", shares: [{ worker: "w2", count: 3 }], calmMs: 60_000 };

test("a request to move idle sessions is read in its form and in that of the version before", async () => {
  const seen = handleCommand(() => ({ outcome: "done", message: "" }));
  for (const [token, question] of Object.entries({ new: MIGRATE_IDLE, old: GIVE })) {
    await operator.putTicket({ kind: "command", token, question, group: WORKER, ttlMs: 60_000 });
    await expect
      .poll(() => operator.readTicket("command", token))
      .toMatchObject({ state: "answered", answer: { outcome: "done" } });
  }
  expect(seen).toEqual([MIGRATE_IDLE, MIGRATE_IDLE]);
});

test("a request to move idle sessions is written so that a worker of the version before understands it", async () => {
  const sent = sendCommand({ store: operator, clock: systemClock }, WORKER, MIGRATE_IDLE);
  await expect.poll(() => member.ticketsOf("command", WORKER)).toMatchObject([{ question: GIVE }]);
  const [ticket] = await member.ticketsOf("command", WORKER);
  await member.answerTicket("command", ticket?.token ?? "", { outcome: "done", message: "moved" });
  expect(await sent).toEqual({ outcome: "done", message: "moved" });
});
