/**
 * The session headers of worker responses (`x-ct-*`). Clients never see them: headers.ts removes them.
 */

import { isSessionId, type SessionKey } from "../../shared/base/ids.ts";
import type { ResponseHead } from "../http1/head.ts";

/** The session that a connection belongs to, as reported by its worker. */
export interface Mark {
  readonly id: SessionKey;
  readonly epoch: number;
}

export function readMark(head: ResponseHead): Mark | undefined {
  const id = head.values.session;
  if (id === undefined) return undefined;
  const epoch = readEpoch(head);
  return epoch !== undefined && isSessionId(id) ? { id, epoch } : undefined;
}

export function readEpoch(head: ResponseHead): number | undefined {
  const text = head.values.epoch;
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
