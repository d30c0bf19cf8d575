/**
 * Asking a worker whether it is well: on its status port when its record names one, or on its traffic port when all that
 * is known is an address behind which any HTTP server may be.
 */
import { request } from "undici";
import { EDGE_FIELD } from "../shared/edge-headers.ts";
import { EdgeError } from "../shared/errors.ts";
import type { WorkerRecord } from "../shared/membership/member.ts";

export interface Probe {
  /** Rejects unless the worker is well. `proof`: `x-ct-edge`, if there is one. */
  ask(record: WorkerRecord, proof: string | undefined): Promise<void>;
  /** Whether a worker is asked again and again, or only after something failed. */
  readonly always: boolean;
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

/**
 * A worker does not accept our proof. Its secret is another one, or it is none of the addresses that it knows of itself.
 */
export class ProofRefusedError extends EdgeError {
  readonly code = "EDGE_PROOF_REFUSED";
  readonly source = "upstream";
  readonly retryable = true;
  constructor() {
    super(
      "the worker refuses x-ct-edge: its CT_SECRET is another one, or its CT_WORKER_URL names another address than CT_WORKERS does",
    );
  }
}

const TIMEOUT_MS = 1000;
/** Only an HTTP server that cannot do its work answers so. */
const FIRST_FAILURE = 500;

/** Of workers with a lease, which says by itself that they live: they are asked when something failed. */
export const statusProbe: Probe = {
  always: false,
  async ask(record) {
    const status = await statusOf(`${record.statusUrl}/health/live`, {});
    if (status !== 200) throw new ProbeError(status);
  },
};

/** Of workers of a fixed list. What a server that is none of ours says to the path does not matter, below 500. */
export const trafficProbe: Probe = {
  always: true,
  async ask(record, proof) {
    const headers = proof === undefined ? {} : { [EDGE_FIELD]: proof };
    const status = await statusOf(`${record.url}/api/meta`, headers);
    if (status === 421) throw new ProofRefusedError();
    if (status >= FIRST_FAILURE) throw new ProbeError(status);
  },
};

async function statusOf(url: string, headers: Record<string, string>): Promise<number> {
  const answer = await request(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  await answer.body.dump();
  return answer.statusCode;
}
