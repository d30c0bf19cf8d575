/** The Lua decision about ownership says the same as the TypeScript one. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Incarnation, WorkerId } from "../../../shared/base/ids.ts";
import {
  decideReassert,
  decideResume,
  holderOf,
  type Lease,
  nextEpoch,
} from "../../../shared/store/ownership.ts";
import { composeLua, loadScripts } from "../../../shared/store/redis/scripts/load-scripts.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";

/** Few values, so that they often meet. */
const workerId = fc.constantFrom("a", "b", "c") as fc.Arbitrary<WorkerId>;
const incarnation = fc.constantFrom("1", "2", "3") as fc.Arbitrary<Incarnation>;
const lease: fc.Arbitrary<Lease> = fc.oneof(
  fc.constant({ state: "gone" } as const),
  fc.record({
    state: fc.constant("held" as const),
    incarnation,
    sinceLastHeartbeatMs: fc.oneof(
      fc.constantFrom(0, 2499, 2500, 2501),
      fc.integer({ min: 0, max: 5000 }),
    ),
  }),
);
const question = fc.record({
  head: fc.record(
    {
      owner: workerId,
      incarnation,
      state: fc.constantFrom("created", "open", "released", "closed"),
      successor: workerId,
    },
    { requiredKeys: ["owner", "incarnation", "state"] },
  ),
  claimant: fc.record(
    {
      worker: workerId,
      incarnation,
      evidence: fc.constantFrom("refused", "exited"),
      evidenceOf: incarnation,
    },
    { requiredKeys: ["worker", "incarnation"] },
  ),
  leases: fc.record({ holder: lease, claimant: lease }),
  epoch: fc.nat({ max: 2_000_000_000_000 }),
  nowMs: fc.nat({ max: 2_000_000_000_000 }),
});

/** Runs many questions in one go. */
const ASK_ALL = `
local answers = {}
local function as_lease(lease)
  return { held = lease.state == 'held', incarnation = lease.incarnation, age = lease.sinceLastHeartbeatMs }
end
for i, asked in ipairs(cjson.decode(ARGV[1])) do
  asked.claimant.evidence_of = asked.claimant.evidenceOf
  local verdict, cause, raise = decide_resume(
    asked.head, asked.claimant, as_lease(asked.leases.holder), as_lease(asked.leases.claimant)
  )
  answers[i] = {
    verdict = verdict, cause = cause, raise = raise, holder = holder_of(asked.head),
    epoch = text(next_epoch(asked.epoch, asked.nowMs)),
  }
end
return cjson.encode(answers)
`;

const word = fc.record({
  head: fc.option(
    fc.record({
      owner: workerId,
      incarnation,
      epoch: fc.nat({ max: 3 }),
      state: fc.constantFrom("created", "open", "released", "closed"),
    }),
    { nil: undefined },
  ),
  asserted: fc.record({
    owner: workerId,
    incarnation,
    epoch: fc.nat({ max: 3 }),
    state: fc.constantFrom("created", "open", "closed"),
  }),
  lease,
});

const REASSERT_ALL = `
local answers = {}
for i, told in ipairs(cjson.decode(ARGV[1])) do
  local asserted, head, lease = told.asserted, told.head, told.lease
  if head then head.epoch = text(head.epoch) end
  answers[i] = decide_reassert(
    head,
    { owner = asserted.owner, incarnation = asserted.incarnation, epoch = asserted.epoch, closed = asserted.state == 'closed' },
    { held = lease.state == 'held', incarnation = lease.incarnation, age = lease.sinceLastHeartbeatMs }
  )
end
return cjson.encode(answers)
`;

describe("the decision in Lua", () => {
  let redis: TestRedis;
  let admin: ReturnType<TestRedis["admin"]>;

  beforeAll(async () => {
    redis = await startRedis();
    admin = redis.admin();
  });

  it("the decision in Lua equals the one in TypeScript for any resume", async () => {
    const source = `${composeLua(["prelude", "ownership"])}\n${ASK_ALL}`;
    const causes = new Set<string>();
    const batch = fc.array(question, { minLength: 500, maxLength: 500 });
    await fc.assert(
      fc.asyncProperty(batch, async (asked) => {
        const reply = await admin.eval(source, 1, "{ct}:", JSON.stringify(asked));
        const expected = asked.map(({ head, claimant, leases, epoch, nowMs }) => {
          const decision = decideResume(head, claimant, leases);
          causes.add(decision.verdict === "own" ? decision.cause : decision.verdict);
          return { ...decision, holder: holderOf(head), epoch: String(nextEpoch(epoch, nowMs)) };
        });
        expect(JSON.parse(String(reply))).toEqual(expected);
      }),
      { numRuns: 40, endOnFailure: true },
    );
    expect([...causes].sort()).toEqual([
      "closed",
      "elsewhere",
      "exited",
      "handed",
      "lease-gone",
      "mine",
      "refused",
      "replaced",
      "restarted",
    ]);
  });

  it("the decision in Lua equals the one in TypeScript for any reassertion", async () => {
    const source = `${composeLua(["prelude", "ownership"])}\n${REASSERT_ALL}`;
    const verdicts = new Set<string>();
    const batch = fc.array(word, { minLength: 500, maxLength: 500 });
    await fc.assert(
      fc.asyncProperty(batch, async (told) => {
        const reply = await admin.eval(source, 1, "{ct}:", JSON.stringify(told));
        const expected = told.map(({ head, asserted, lease: owners }) =>
          decideReassert(head, asserted, owners),
        );
        for (const verdict of expected) verdicts.add(verdict);
        expect(JSON.parse(String(reply))).toEqual(expected);
      }),
      { numRuns: 20, endOnFailure: true },
    );
    expect([...verdicts].sort()).toEqual(["kept", "lost", "written"]);
  });

  it.each(["resumeSession", "reassertSession"] as const)(
    "the decision in Lua is part of %s, as it stands in its file",
    (script) => {
      const file = new URL("../../../shared/store/redis/scripts/ownership.lua", import.meta.url);
      expect(loadScripts()[script].source).toContain(readFileSync(file, "utf8"));
    },
  );
});
