/**
 * The session headers of worker responses (`x-ct-*`). Clients never see them: headers.ts removes them.
 */

import { isSessionId, type SessionKey } from "../../../shared/base/ids.ts";
import { EPOCH_HEADER, SESSION_HEADER } from "../../../shared/net/edge-headers.ts";
import type { ResponseHead } from "./head.ts";

export function fieldValue(head: ResponseHead, lower: string): string | undefined {
  return head.fields.find((field) => field.lower === lower)?.value;
}

/** The session that a connection belongs to, as reported by its worker. */
interface Mark {
  readonly id: SessionKey;
  readonly epoch: number;
}

export function readMark(head: ResponseHead): Mark | undefined {
  const id = fieldValue(head, SESSION_HEADER);
  const epoch = readEpoch(head);
  return id !== undefined && epoch !== undefined && isSessionId(id) ? { id, epoch } : undefined;
}

export function readEpoch(head: ResponseHead): number | undefined {
  const text = fieldValue(head, EPOCH_HEADER);
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
