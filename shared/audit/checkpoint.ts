/**
 * Checkpoints of the audit log, in the store: how far each chain was written, signed. Lines that are missing at the end of a chain
 * are found by them.
 */
import { z } from "zod";
import { readJson } from "../base/json.ts";
import type { Store } from "../store/store.ts";
import { STREAMS } from "../store/streams.ts";
import {
  type AuditKey,
  type AuditKeys,
  isSame,
  type Position,
  positionOf,
  signature,
} from "./line.ts";

export interface Checkpoint extends Position {
  readonly worker: string;
}

const STREAM = "audit-checkpoints";

const schema = z.strictObject({
  chain: z.string(),
  worker: z.string(),
  seq: z.int().positive(),
  mac: z.string(),
  at: z.iso.datetime(),
  key: z.string(),
  signature: z.string(),
});

export function writeCheckpoint(
  { chain, worker, seq, mac, atMs }: Checkpoint,
  key: AuditKey,
): string {
  const fields = { chain, worker, seq, mac, at: new Date(atMs).toISOString(), key: key.id };
  return JSON.stringify({ ...fields, signature: signed(fields, key) });
}

/** Undefined: it is none, or another edge has signed it, or somebody has changed it. */
export function parseCheckpoint(text: string, keys: AuditKeys): Checkpoint | undefined {
  const parsed = readJson(schema, text);
  if (parsed === undefined) return undefined;
  const { signature: given, ...fields } = parsed;
  const key = keys.accepted.find(({ id }) => id === fields.key);
  if (key === undefined || !isSame(given, signed(fields, key))) return undefined;
  return { ...positionOf(fields), worker: fields.worker };
}

function signed(fields: Readonly<Record<string, unknown>>, key: AuditKey): string {
  return signature(key, "checkpoint", JSON.stringify(fields));
}

/** All texts that the store has, oldest first. Rejects with `StoreAwayError`. */
export async function readCheckpointTexts(
  store: Pick<Store, "readStream">,
): Promise<readonly string[]> {
  const entries = await store.readStream(STREAM, { limit: STREAMS[STREAM].keep });
  return entries.map(({ text }) => text);
}

/** The last one of each chain. Rejects with `StoreAwayError`. */
export async function readCheckpoints(
  store: Pick<Store, "readStream">,
  keys: AuditKeys,
): Promise<readonly Checkpoint[]> {
  const newest = new Map<string, Checkpoint>();
  for (const text of await readCheckpointTexts(store)) {
    const checkpoint = parseCheckpoint(text, keys);
    if (checkpoint === undefined) continue;
    if (checkpoint.seq > (newest.get(checkpoint.chain)?.seq ?? 0)) {
      newest.set(checkpoint.chain, checkpoint);
    }
  }
  return [...newest.values()];
}

/** Rejects with `StoreAwayError`. */
export async function appendCheckpoints(
  store: Pick<Store, "appendToStream">,
  texts: readonly string[],
): Promise<void> {
  await store.appendToStream(STREAM, texts);
}
