/**
 * Probes workers, always on the traffic port, so that a probe sees what clients see. Only a response counts, because the
 * system accepts connections for a stopped process too.
 */

import { EdgeError } from "../../shared/base/errors.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  FORMER_INCARNATION_HEADER,
  INCARNATION_HEADER,
  PROBE_PATH,
  readIncarnation,
  STORE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { askProcess, type ProcessAnswer } from "../../shared/net/request-process.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { StoreHealth } from "../../shared/store/store.ts";

export interface Probe {
  /** Rejects unless the worker responds without an error within `PROBE_TIMEOUT_MS`. `proof`: `x-ct-edge`, if there is one. */
  ask(record: WorkerRecord, proof: string | undefined): Promise<void>;
}

/** An error response to a probe. */
export class ProbeError extends EdgeError {
  readonly code = "EDGE_PROBE";
  constructor(status: number) {
    super(`the worker answers a probe with status ${status}`);
  }
}

/** A worker rejects our proof: another worker was meant, or its secret differs. */
export class ProofRefusedError extends EdgeError {
  readonly code = "EDGE_PROOF_REFUSED";
  /** The intended worker's current incarnation, as it proved; undefined if it may be any other worker. */
  readonly incarnation: Incarnation | undefined;
  constructor(incarnation?: Incarnation) {
    super("the worker rejects x-ct-edge");
    this.incarnation = incarnation;
  }
}

/**
 * With one probe a second, a stopped worker is noticed after at most 1 s plus this: less than the 3 s within which it must
 * be avoided, and more than a busy worker needs to respond.
 */
export const PROBE_TIMEOUT_MS = 1500;
/** Only a server that cannot do its work responds with this or more. */
const FIRST_FAILURE = 500;

/**
 * For our own workers. It also reports whether this balancer reaches the store; a worker that does not reach it learns from
 * that whether it alone is cut off (worker/balancers/outage-reports.ts).
 */
export function createEdgeProbe(self: {
  readonly id: WorkerId;
  readonly storeHealth: () => StoreHealth;
  readonly edgeKeys: Pick<PurposeKeys, "accepted">;
}): Probe {
  return {
    async ask(record, proof = "") {
      const response = await probeAt(`${record.url}${PROBE_PATH}`, {
        ...proofHeader(proof),
        [BALANCER_HEADER]: self.id,
        [STORE_HEADER]: self.storeHealth().state,
      });
      const { headers } = response;
      const field = headers[INCARNATION_HEADER] ?? headers[FORMER_INCARNATION_HEADER];
      checkStatus(
        response.status,
        readIncarnation(self.edgeKeys.accepted, { field, id: record.id, refusedProof: proof }),
      );
    },
  };
}

/** For workers of a fixed list, which may be other HTTP servers: any status below 500 is healthy. */
export const trafficProbe: Probe = {
  async ask(record, proof) {
    const { status } = await probeAt(`${record.url}/api/meta`, proofHeader(proof));
    checkStatus(status, undefined);
  },
};

/** Throws unless a worker with this response is healthy. A 404 of an older worker is healthy too. */
function checkStatus(status: number, incarnation: Incarnation | undefined): void {
  if (status === 421) throw new ProofRefusedError(incarnation);
  if (status >= FIRST_FAILURE) throw new ProbeError(status);
}

function proofHeader(proof: string | undefined): Record<string, string> {
  return proof === undefined || proof === "" ? {} : { [EDGE_HEADER]: proof };
}

function probeAt(url: string, headers: Record<string, string>): Promise<ProcessAnswer> {
  return askProcess(url, { headers, timeoutMs: PROBE_TIMEOUT_MS, keepConnection: true });
}
