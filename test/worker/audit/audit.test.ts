/** The audit log of a worker whose store is away: it goes on for a minute, then says so, and refuses new sessions where that is set. */
import { expect, onTestFinished, test } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { openAudit } from "../../../worker/audit/audit.ts";
import { auditEvent, auditLines, isAuditFine, keysOf } from "../../support/audit.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const START_MS = Date.UTC(2030, 0, 1);

/** A worker with a store that answers while `store.isUp`. */
function open(onFailure: "refuse" | "continue") {
  const folder = tempFolder();
  const clock = createStepClock(START_MS);
  const { log, lines: logged } = collectingLog();
  const store = { isUp: true, tries: 0, stored: 0 };
  const audit = openAudit({
    options: { folder, days: 90, onFailure, syslog: undefined },
    worker: "worker-1",
    keys: keysOf(),
    store: {
      async appendToStream() {
        store.tries++;
        if (!store.isUp) throw new StoreAwayError("appendToStream");
        store.stored++;
      },
      readStream: async () => [],
    },
    clock,
    log,
    counters: createCounters(),
  });
  onTestFinished(() => audit.close());

  /** Each of them with its tick: the next one comes when its lines are written. */
  async function pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1000);
      await audit.flush();
    }
  }
  return { folder, audit, store, logged, pass };
}

const uncheckedIn = (folder: string) =>
  auditLines(folder).filter(({ kind }) => kind === "audit.unchecked");

async function recordWithoutStore(onFailure: "refuse" | "continue") {
  const opened = open(onFailure);
  const { audit, store, pass } = opened;
  await pass(12);
  expect(store.stored).toBeGreaterThan(0);
  store.isUp = false;
  audit.write(auditEvent());
  await pass(60);
  expect([audit.state.problem, audit.refusal()]).toEqual([undefined, undefined]);
  await pass(2);
  expect(audit.state.problem).toBe("no checkpoint could be stored since 2030-01-01T00:00:13.000Z");
  return opened;
}

test("with CT_AUDIT_FAILURE=refuse no session begins when lines have waited for a checkpoint for a minute, until the store has one", async () => {
  const { audit, store, pass, folder, logged } = await recordWithoutStore("refuse");
  expect(audit.refusal()).toBe(
    "This server cannot secure its record of what happens against changes at the moment, so no new sessions can be started. Try again later, or contact your administrator.",
  );
  expect(logged.join("")).toContain("the end of the audit log is not secured by checkpoints");
  store.isUp = true;
  await pass(11);
  expect([audit.state.problem, audit.refusal()]).toEqual([undefined, undefined]);
  expect(logged.join("")).toContain("checkpoints of the audit log are stored again");
  expect(uncheckedIn(folder)).toHaveLength(1);
});

test("without CT_AUDIT_FAILURE=refuse sessions go on, and a line says from when to when there was no checkpoint", async () => {
  const { audit, store, pass, folder } = await recordWithoutStore("continue");
  expect(audit.refusal()).toBeUndefined();
  audit.write(auditEvent());
  await pass(30);
  expect(uncheckedIn(folder)).toEqual([]);
  store.isUp = true;
  await pass(12);
  expect(uncheckedIn(folder).map(({ details }) => details)).toEqual([
    { from: "2030-01-01T00:00:13.000Z", to: expect.stringMatching(/^2030-01-01T00:01:5\d/) },
  ]);
  await pass(40);
  await audit.close();
  expect(uncheckedIn(folder)).toHaveLength(1);
  expect(await isAuditFine(folder)).toBe(true);
});

test("a process that ends without its store says since when there was no checkpoint", async () => {
  const { audit, folder } = await recordWithoutStore("continue");
  await audit.close();
  expect(uncheckedIn(folder).map(({ details }) => details)).toEqual([
    { from: "2030-01-01T00:00:13.000Z", to: "2030-01-01T00:01:14.000Z" },
  ]);
});

test("a store that is away while nothing happens is no problem: there is nothing to secure", async () => {
  const { audit, store, pass } = open("refuse");
  await pass(12);
  store.isUp = false;
  const { tries } = store;
  await pass(200);
  expect(audit.state.problem).toBeUndefined();
  expect(store.tries).toBe(tries);
});
