/**
 * Asking another worker's own port whether it lives, before a client is sent there: the evidence for a take-over.
 */

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
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { StoreHealth } from "../../shared/store/store.ts";

export interface OwnerProbe {
  /**
   * What the owner's port says now, or said up to `FRESH_MS` ago; many who ask at once cause one question. Never rejects.
   */
  look(owner: WorkerId): Promise<OwnerReport>;
  /** The supervisor of this machine saw the worker's process end. */
  noteExit(owner: WorkerId): void;
}

/** `incarnation`: which life of the owner was looked at; undefined when no member has that id. */
export interface OwnerReport {
  readonly seen: ObservedOwner;
  readonly evidence?: "refused" | "exited";
  readonly incarnation?: Incarnation;
}

/**
 * An answer on a healthy machine takes a millisecond; this is for a busy one, to which hundreds come back at once. Nobody
 * waits longer for a hung owner because of it: its lease ends later than this.
 */
export const OWNER_TIMEOUT_MS = 2000;
/** What was seen is believed for so long: a flood of stray clients must not become a flood of questions. */
const FRESH_MS = 250;
const MAX_REMEMBERED = 1000;

export function createOwnerProbes(needs: {
  readonly clock: Clock;
  readonly worker: (id: WorkerId) => WorkerRecord | undefined;
  /** Resolves when the members were read for the first time; undefined when they have been. */
  readonly membersRead: () => Promise<void> | undefined;
  /** Asks a worker's port now. Never rejects. */
  readonly probe: (record: WorkerRecord) => Promise<ObservedOwner>;
}): OwnerProbe {
  const { clock } = needs;
  const reports = new Map<WorkerId, { readonly report: Promise<OwnerReport>; staleMs: number }>();
  const exits = new Map<WorkerId, Incarnation>();

  async function ask(owner: WorkerId): Promise<OwnerReport> {
    // A worker that has just started serves before it knows the others. Taking them for silent would keep clients here
    // that have been brought to another worker, only to send them away a moment later.
    const reading = needs.membersRead();
    if (reading !== undefined) await Promise.race([reading, sleep(clock, OWNER_TIMEOUT_MS)]);
    const record = needs.worker(owner);
    // Its lease may just have run out, or its record is not believed: the store knows better in a moment.
    if (record === undefined) return { seen: "silent" };
    const { incarnation } = record;
    if (exits.get(owner) === incarnation) {
      return { seen: "refuses", evidence: "exited", incarnation };
    }
    const seen = await needs.probe(record);
    return { seen, incarnation, ...(seen === "refuses" && { evidence: "refused" as const }) };
  }

  return {
    look(owner) {
      const known = reports.get(owner);
      if (known !== undefined && clock.nowMs() < known.staleMs) return known.report;
      if (reports.size >= MAX_REMEMBERED) reports.clear();
      const entry = { report: ask(owner), staleMs: Number.POSITIVE_INFINITY };
      reports.set(owner, entry);
      // Fresh from its answer on: a slow one is asked once, however many wait for it.
      void entry.report.then(() => {
        entry.staleMs = clock.nowMs() + FRESH_MS;
      });
      return entry.report;
    },
    noteExit(owner) {
      const record = needs.worker(owner);
      if (record === undefined) return;
      exits.set(owner, record.incarnation);
      reports.delete(owner);
    },
  };
}

/** Asks with a balancer's own probe. */
export function createOwnerProbe(needs: {
  readonly self: WorkerId;
  readonly edgeKey: Buffer;
  readonly storeHealth: () => StoreHealth;
}): (record: WorkerRecord) => Promise<ObservedOwner> {
  return async (record) => {
    try {
      const { status } = await askProcess(`${record.url}${PROBE_PATH}`, {
        headers: {
          [EDGE_HEADER]: edgeProof(needs.edgeKey, record.id, record.incarnation),
          // A worker that reaches the store is as good a witness as a balancer.
          [BALANCER_HEADER]: needs.self,
          [STORE_HEADER]: needs.storeHealth().state,
        },
        timeoutMs: OWNER_TIMEOUT_MS,
        keepConnection: false,
      });
      // Another process at its address, or one that may not act for its sessions now, is not the owner.
      return status < 400 ? "answers" : "silent";
    } catch (error) {
      return errorCode(error) === "ECONNREFUSED" ? "refuses" : "silent";
    }
  };
}
