/**
 * Probes another worker's port before a client is sent there: the evidence for a take-over.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import type { ObservedOwner } from "../../shared/membership/claim.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  edgeProof,
  PROBE_PATH,
  STORE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { Keyring } from "../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { StoreHealth } from "../../shared/store/store.ts";

export type OwnerProbe = ReturnType<typeof createOwnerProbes>;

/** `incarnation`: the one that was probed; undefined when no member has that id. */
export interface OwnerReport {
  readonly seen: ObservedOwner;
  readonly evidence?: "refused" | "exited";
  readonly incarnation?: Incarnation;
}

/**
 * A healthy machine responds within a millisecond; this is for a busy one to which hundreds of clients reconnect at once.
 * It delays no take-over from a hung owner, whose lease ends later than this.
 */
export const OWNER_TIMEOUT_MS = 2000;
/** How long a report is cached: a flood of misdirected clients must not become a flood of probes. */
const FRESH_MS = 250;
const MAX_CACHED = 1000;

export function createOwnerProbes(deps: {
  readonly clock: Clock;
  readonly worker: (id: WorkerId) => WorkerRecord | undefined;
  /** Resolves when the members are read for the first time; undefined when they have been. */
  readonly membersRead: () => Promise<void> | undefined;
  /** Probes a worker's port now. Never rejects. */
  readonly probe: (record: WorkerRecord) => Promise<ObservedOwner>;
}) {
  const { clock } = deps;
  const reports = new BoundedMap<
    WorkerId,
    { readonly report: Promise<OwnerReport>; staleMs: number }
  >(MAX_CACHED);
  const exits = new Map<WorkerId, Incarnation>();

  async function report(owner: WorkerId): Promise<OwnerReport> {
    // A worker that has just started serves before it has read the members. Reporting them as silent would keep clients
    // here whose session is on another worker, only to send them away a moment later.
    const reading = deps.membersRead();
    if (reading !== undefined) await Promise.race([reading, sleep(clock, OWNER_TIMEOUT_MS)]);
    const record = deps.worker(owner);
    // Its lease may just have run out, or its record is not verified: the store decides in a moment.
    if (record === undefined) return { seen: "silent" };
    const { incarnation } = record;
    if (exits.get(owner) === incarnation) {
      return { seen: "refuses", evidence: "exited", incarnation };
    }
    const seen = await deps.probe(record);
    return { seen, incarnation, ...(seen === "refuses" && { evidence: "refused" as const }) };
  }

  return {
    /** The state of the owner's port, at most `FRESH_MS` old; concurrent calls share one probe. Never rejects. */
    look(owner: WorkerId): Promise<OwnerReport> {
      const cached = reports.get(owner);
      if (cached !== undefined && clock.nowMs() < cached.staleMs) return cached.report;
      const entry = { report: report(owner), staleMs: Number.POSITIVE_INFINITY };
      reports.set(owner, entry);
      // Fresh from its end on: a slow owner is probed once, however many calls wait for it.
      void entry.report.then(() => {
        entry.staleMs = clock.nowMs() + FRESH_MS;
      });
      return entry.report;
    },
    /** This machine's supervisor saw the worker's process end. */
    noteExit(owner: WorkerId): void {
      const record = deps.worker(owner);
      if (record === undefined) return;
      exits.set(owner, record.incarnation);
      reports.delete(owner);
    },
  };
}

/** The probe that balancers use, too. */
export function createOwnerProbe(deps: {
  readonly self: WorkerId;
  readonly edgeKeyFor: Keyring["edgeKeyFor"];
  readonly storeHealth: () => StoreHealth;
}): (record: WorkerRecord) => Promise<ObservedOwner> {
  return async (record) => {
    try {
      const { status } = await askProcess(`${record.url}${PROBE_PATH}`, {
        headers: {
          [EDGE_HEADER]: edgeProof(deps.edgeKeyFor(record), record.id, record.incarnation),
          // Like a balancer, this worker reports whether it reaches the store.
          [BALANCER_HEADER]: deps.self,
          [STORE_HEADER]: deps.storeHealth().state,
        },
        timeoutMs: OWNER_TIMEOUT_MS,
        keepConnection: false,
      });
      // Another process at its address, or a worker that is fenced, is not the owner.
      return status < 400 ? "answers" : "silent";
    } catch (error) {
      return errorCode(error) === "ECONNREFUSED" ? "refuses" : "silent";
    }
  };
}
