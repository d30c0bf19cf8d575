/**
 * Asking a worker whether it is well, always on its traffic port: what is asked there is what clients would meet. Only an
 * answer counts, because the system accepts connections for a process that is stopped.
 */

import { EdgeError } from "../../shared/base/errors.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  INCARNATION_HEADER,
  PROBE_PATH,
  readIncarnation,
  STORE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { askProcess, type ProcessAnswer } from "../../shared/net/request-process.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { StoreHealth } from "../../shared/store/store.ts";

export interface Probe {
  /** Rejects unless the worker answers that it is well, within `PROBE_TIMEOUT_MS`. `proof`: `x-ct-edge`, if there is one. */
  ask(record: WorkerRecord, proof: string | undefined): Promise<void>;
}

/** A worker's answer to a probe says that it is not well. */
export class ProbeError extends EdgeError {
  readonly code = "EDGE_PROBE";
  readonly source = "upstream";
  readonly retryable = true;
  constructor(status: number) {
    super(`the worker answers a probe with status ${status}`);
  }
}

/** A worker does not accept our proof: another one was meant, or its secret is another one. */
export class ProofRefusedError extends EdgeError {
  readonly code = "EDGE_PROOF_REFUSED";
  readonly source = "upstream";
  readonly retryable = true;
  /** The life in which the worker that was meant is there all the same, as it proved; undefined: it may be any other. */
  readonly life: Incarnation | undefined;
  constructor(life?: Incarnation) {
    super("the worker refuses x-ct-edge");
    this.life = life;
  }
}

/**
 * With a probe each second, a worker that stops is known to after 1 s and this at the most: less than the 3 s within which
 * it must be left, and more than a busy one takes to answer.
 */
export const PROBE_TIMEOUT_MS = 1500;
/** Only an HTTP server that cannot do its work answers so. */
const FIRST_FAILURE = 500;

/**
 * Of our own workers. By the way it tells them whether this balancer reaches the store, from which a worker that does not
 * learns whether it is alone (worker/balancers/outage-reports.ts).
 */
export function createEdgeProbe(self: {
  readonly id: WorkerId;
  readonly storeHealth: () => StoreHealth;
  readonly edgeKey: Buffer;
}): Probe {
  return {
    async ask(record, proof = "") {
      const answer = await answerOf(`${record.url}${PROBE_PATH}`, {
        ...proofField(proof),
        [BALANCER_HEADER]: self.id,
        [STORE_HEADER]: self.storeHealth().state,
      });
      const field = answer.headers[INCARNATION_HEADER];
      judge(
        answer.status,
        readIncarnation(self.edgeKey, { field, id: record.id, refusedProof: proof }),
      );
    },
  };
}

/** Of workers of a fixed list. What a server that is none of ours says to the path does not matter, below 500. */
export const trafficProbe: Probe = {
  async ask(record, proof) {
    const { status } = await answerOf(`${record.url}/api/meta`, proofField(proof));
    judge(status, undefined);
  },
};

/** Throws what speaks against a worker that answers so. A path that an older one does not know is an answer too. */
function judge(status: number, life: Incarnation | undefined): void {
  if (status === 421) throw new ProofRefusedError(life);
  if (status >= FIRST_FAILURE) throw new ProbeError(status);
}

function proofField(proof: string | undefined): Record<string, string> {
  return proof === undefined || proof === "" ? {} : { [EDGE_HEADER]: proof };
}

function answerOf(url: string, headers: Record<string, string>): Promise<ProcessAnswer> {
  return askProcess(url, { headers, timeoutMs: PROBE_TIMEOUT_MS, keepConnection: true });
}
