/**
 * While a balancer cannot reach the store, it asks workers that can for the members: otherwise a worker that is new, or
 * comes back at another address, would get no requests until the store is back. Each second one known worker is asked,
 * and the next one if it has no list. A response counts only with a proof of `CT_SECRET` over this request's nonce, and
 * only for the workers it lists: a worker that is missing in it is not removed.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  isSameProof,
  MEMBERS_PATH,
  MEMBERS_PROOF_HEADER,
  membersProof,
  NONCE_HEADER,
  newNonce,
} from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { parseMember, type WorkerRecord } from "../../shared/store/member.ts";

const PERIOD_MS = 1000;
const TIMEOUT_MS = 1500;
/** 10,000 workers, as many as a snapshot may have. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

export interface MembersFromWorkers {
  close(): void;
}

export function askWorkersForMembers(deps: {
  readonly self: WorkerId;
  readonly clock: Clock;
  readonly edgeKeys: Pick<PurposeKeys, "accepted">;
  /** Whether the store cannot be reached. */
  readonly isAway: () => boolean;
  readonly workers: () => readonly WorkerRecord[];
  readonly prove: (worker: WorkerRecord) => string;
  /** Called with each valid response. */
  readonly onMembers: (workers: readonly WorkerRecord[], from: WorkerId) => void;
}): MembersFromWorkers {
  const { clock, edgeKeys, isAway } = deps;
  /** Rotates the first worker asked, so that one that is slow to fail does not delay each round. */
  let round = 0;

  async function askInOrder(): Promise<void> {
    const workers = deps.workers();
    const first = round++ % Math.max(1, workers.length);
    for (const worker of [...workers.slice(first), ...workers.slice(0, first)]) {
      const members = await fetchMembers(worker).catch(() => undefined);
      // The store is back, and has the complete list.
      if (!isAway()) return;
      if (members === undefined) continue;
      deps.onMembers(members, worker.id);
      return;
    }
  }

  /** Undefined when the worker has no list or the proof is wrong. Rejects when it cannot be reached. */
  async function fetchMembers(worker: WorkerRecord): Promise<readonly WorkerRecord[] | undefined> {
    const nonce = newNonce();
    const { status, headers, body } = await askProcess(`${worker.url}${MEMBERS_PATH}`, {
      headers: {
        [EDGE_HEADER]: deps.prove(worker),
        [BALANCER_HEADER]: deps.self,
        [NONCE_HEADER]: nonce,
      },
      timeoutMs: TIMEOUT_MS,
      keepConnection: true,
      maxBodyBytes: MAX_BODY_BYTES,
    });
    const proof = headers[MEMBERS_PROOF_HEADER];
    if (status !== 200 || typeof proof !== "string") return undefined;
    const isProof = edgeKeys.accepted.some((key) =>
      isSameProof(proof, membersProof(key, nonce, body)),
    );
    return isProof ? readWorkers(body) : undefined;
  }

  const work = (): Promise<void> | undefined => (isAway() ? askInOrder() : undefined);
  return startPeriodicTask({ clock, periodMs: PERIOD_MS, work });
}

/** The well-formed worker records; undefined when the body is not a list. */
function readWorkers(body: Buffer): readonly WorkerRecord[] | undefined {
  const value: unknown = JSON.parse(body.toString());
  if (!Array.isArray(value)) return undefined;
  return value.map(parseMember).filter((member) => member?.kind === "worker");
}
