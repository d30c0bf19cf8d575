/** The outbox at a Redis that is there and does not take events: sessions end nevertheless. */
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { newSessionId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { createWriteQueue } from "../../../worker/sessions/write-queue.ts";
import { createOutbox } from "../../../worker/webhooks/outbox.ts";
import { worker } from "../../contract/store.ts";
import { collectingLog } from "../../support/logs.ts";
import { openStore, startRedis } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

test.each([
  ["is full", ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]],
  ["denies the stream", ["ACL", "SETUSER", "ct", "-xadd"], ["ACL", "SETUSER", "ct", "+xadd"]],
] as const)(
  "while Redis %s, sessions are closed, and the events come when it takes them",
  async (_, deny, allow) => {
    const redis = await startRedis({
      acl: ["user default on nopass ~* &* +@all", "user ct on >pass ~* &* +@all"],
      lines: ["maxmemory-policy noeviction"],
    });
    const { store } = openStore(redis.urlFor("ct", "pass"));
    onTestFinished(() => store.close());
    const clock = systemClock;
    const { log, lines } = collectingLog();
    const self = worker("worker-1");
    const outbox = createOutbox({
      ...{ store, worker: self.id, clock, log, counters: createCounters() },
    });
    onTestFinished(() => outbox.close());
    await store.announce(self);
    const sessionId = newSessionId();
    const { id: owner, incarnation } = self;
    const created = await store.createSession({
      ...{ sessionId, owner, incarnation, userId: "u", maxPerUser: 1 },
    });
    if (created.outcome !== "created") throw new Error("not created");
    const { epoch } = created.record;
    const failures: unknown[] = [];
    const writes = createWriteQueue({
      clock,
      holder: () => ({ sessionId, owner, epoch }),
      before: () => outbox.stored(),
      confirm: async () => "lost",
      onLost: () => {},
      onFailure: (failure) => failures.push(failure),
    });
    const admin = redis.admin();
    const [command, ...args] = deny;
    await admin.call(command, ...args);

    outbox.write({ id: "1", kind: "session.closed", atMs: 0, worker: owner, session: "s" });
    const untilMs = Date.now() + 60_000;
    expect(
      await writes.write((holder) => store.changeSession(holder, { kind: "close", untilMs })),
    ).toBe("done");
    expect(failures).toEqual([]);
    expect((await store.findSession(sessionId))?.state).toBe("closed");
    expect(outbox.pending).toBe(1);

    const [again, ...rest] = allow;
    await admin.call(again, ...rest);
    await until("the event is stored", () => outbox.pending === 0);
    const entries = await store.readStream("webhooks", { limit: 10 });
    expect(entries.map(({ text }) => JSON.parse(text).id)).toEqual(["1"]);
    expect(lines.filter((line) => line.includes("events are lost"))).toEqual([]);
  },
);
