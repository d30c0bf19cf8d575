/** Who may own a session: the rules that the contract suite cannot tell apart from outside. */
import { describe, expect, it } from "vitest";
import type { Incarnation, WorkerId } from "../../../shared/base/ids.ts";
import {
  decideResume,
  holderOf,
  type Lease,
  nextEpoch,
  REFUSED_HEARTBEAT_AGE_MS,
} from "../../../shared/store/ownership.ts";

const A = "worker-a" as WorkerId;
const B = "worker-b" as WorkerId;
const OLD = "o".repeat(16) as Incarnation;
const NEW = "n".repeat(16) as Incarnation;
const GONE: Lease = { state: "gone" };

const held = (incarnation: Incarnation, sinceLastHeartbeatMs = 0): Lease => ({
  state: "held",
  incarnation,
  sinceLastHeartbeatMs,
});
const open = { owner: A, incarnation: OLD, state: "open" } as const;
const released = { owner: A, incarnation: OLD, state: "released" } as const;

describe("the decision about a resume", () => {
  it("the decision about a resume lets a claimant own its session although its own lease has expired", () => {
    const claimant = { worker: A, incarnation: OLD };
    const leases = { holder: GONE, claimant: GONE };
    expect(decideResume(open, claimant, leases)).toEqual({
      verdict: "own",
      cause: "mine",
      raise: false,
    });
  });

  it("the decision about a resume gives a released session to its successor in any incarnation", () => {
    const leases = { holder: held(NEW), claimant: held(NEW) };
    const claimant = { worker: B, incarnation: NEW };
    expect(decideResume({ ...released, successor: B }, claimant, leases)).toEqual({
      verdict: "own",
      cause: "handed",
      raise: true,
    });
  });

  it("the decision about a resume does not take a successor's incarnation for a replaced owner", () => {
    const claimant = { worker: "worker-c" as WorkerId, incarnation: NEW };
    const leases = { holder: held(NEW), claimant: held(NEW) };
    expect(decideResume({ ...released, successor: B }, claimant, leases)).toEqual({
      verdict: "elsewhere",
    });
  });

  it("the decision about a resume applies the evidence of a claimant to the successor that it was sent to", () => {
    const record = { ...released, successor: B };
    const claimant = { worker: A, incarnation: OLD };
    const young = { holder: held(NEW, REFUSED_HEARTBEAT_AGE_MS - 1), claimant: held(OLD) };
    const old = { holder: held(NEW, REFUSED_HEARTBEAT_AGE_MS), claimant: held(OLD) };
    const evidence = "refused" as const;
    expect(decideResume(record, { ...claimant, evidence }, young).verdict).toBe("elsewhere");
    expect(decideResume(record, { ...claimant, evidence }, old)).toMatchObject({
      cause: "refused",
    });
    expect(decideResume(record, { ...claimant, evidence: "exited" }, young)).toMatchObject({
      cause: "exited",
    });
  });

  it("the decision about a resume gives nothing to a process whose id has a newer incarnation, whatever its evidence", () => {
    for (const record of [open, released, { ...released, successor: A }]) {
      const claimant = { worker: A, incarnation: OLD, evidence: "exited" as const };
      const leases = { holder: held(NEW), claimant: held(NEW) };
      expect(decideResume(record, claimant, leases).verdict).toBe("elsewhere");
    }
  });
});

describe("the holder of a session", () => {
  it("the holder of a session is the owner, or the successor of a released one", () => {
    expect(holderOf(open)).toBe(A);
    expect(holderOf(released)).toBe(A);
    expect(holderOf({ ...released, successor: B })).toBe(B);
  });
});

describe("the next epoch", () => {
  it("the next epoch rises when the clock stands still or was set back, and follows it otherwise", () => {
    expect(nextEpoch(1000, 1000)).toBe(1001);
    expect(nextEpoch(1000, 5)).toBe(1001);
    expect(nextEpoch(0, 5000)).toBe(5000);
  });
});
