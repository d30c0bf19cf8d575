/**
 * Schemas of the branded ids (ids.ts), for what is read from outside this process.
 */
import { z } from "zod";
import {
  type Incarnation,
  isIncarnation,
  isPeerId,
  isSessionId,
  isWorkerId,
  isWorkerName,
  type PeerId,
  type SessionId,
  type SessionKey,
  toSessionKey,
  type WorkerId,
} from "./ids.ts";

export const sessionKeySchema = branded<SessionKey>((text) => toSessionKey(text) !== undefined);
export const sessionIdSchema = branded<SessionId>(isSessionId);
export const workerIdSchema = branded<WorkerId>(isWorkerId);
/** An id, or an address in a fixed list. */
export const workerNameSchema = branded<WorkerId>(isWorkerName);
export const incarnationSchema = branded<Incarnation>(isIncarnation);
export const peerIdSchema = branded<PeerId>(isPeerId);

function branded<Id extends string>(isValid: (text: string) => boolean): z.ZodType<Id> {
  return z.custom<Id>((value) => typeof value === "string" && isValid(value));
}
