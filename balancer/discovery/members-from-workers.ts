/**
 * While a balancer does not reach the store, the workers that do tell it who is there: otherwise one that comes back at
 * another address, or is new, could not be reached through this balancer before the store is back. Each second one of the
 * known workers is asked, and when it cannot say, the next. Only an answer that proves `CT_SECRET` counts, to this very
 * question, and only for whom it names: that somebody is missing in it says nothing.
 */

import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
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
  readonly edgeKey: Buffer;
  /** Whether the store cannot be asked. */
  readonly isAway: () => boolean;
  /** Who is known. */
  readonly workers: () => readonly WorkerRecord[];
  readonly prove: (worker: WorkerRecord) => string;
  /** Told of each answer. */
  readonly onMembers: (workers: readonly WorkerRecord[], from: WorkerId) => void;
}): MembersFromWorkers {
  const { clock, edgeKey, isAway } = deps;
  let isAsking = false;
  /** Each second another one begins, so that one that is slow to fail is not asked first each time. */
  let turn = 0;
  const timer: Timer = clock.every(PERIOD_MS, () => {
    if (isAsking || !isAway()) return;
    isAsking = true;
    void askInTurn().finally(() => {
      isAsking = false;
    });
  });

  async function askInTurn(): Promise<void> {
    const workers = deps.workers();
    const first = turn++ % Math.max(1, workers.length);
    for (const worker of [...workers.slice(first), ...workers.slice(0, first)]) {
      const members = await ask(worker).catch(() => undefined);
      // The store says more, and all that counts.
      if (!isAway()) return;
      if (members === undefined) continue;
      deps.onMembers(members, worker.id);
      return;
    }
  }

  /** Undefined when the worker cannot say. Rejects when it cannot be reached. */
  async function ask(worker: WorkerRecord): Promise<readonly WorkerRecord[] | undefined> {
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
    return isSameProof(proof, membersProof(edgeKey, nonce, body)) ? readWorkers(body) : undefined;
  }

  return { close: () => timer.cancel() };
}

/** Those of the records that are well-formed ones of workers; undefined when it is no list. */
function readWorkers(body: Buffer): readonly WorkerRecord[] | undefined {
  const value: unknown = JSON.parse(body.toString());
  if (!Array.isArray(value)) return undefined;
  return value.map(parseMember).filter((member) => member?.kind === "worker");
}
