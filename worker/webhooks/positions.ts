/** Keeps in the store up to where each receiver has the events, so that another worker can go on there. */
import { z } from "zod";
import { readJson } from "../../shared/base/json.ts";
import type { Store } from "../../shared/store/store.ts";
import { MAX_STREAM_TEXT_CHARS, STREAMS } from "../../shared/store/streams.ts";
import type { Position } from "./lanes.ts";

const id = z.string().max(100);

const positionSchema = z.object({
  receiver: z.string(),
  low: id.exactOptional(),
  high: id.exactOptional(),
  held: z.record(z.string(), id),
});

/** By the name of the receiver. Rejects with `StoreAwayError`. */
export async function readPositions(
  store: Pick<Store, "readStream">,
): Promise<ReadonlyMap<string, Position>> {
  const limit = STREAMS["webhook-positions"].keep;
  const entries = await store.readStream("webhook-positions", { limit });
  const positions = new Map<string, Position>();
  for (const { text } of entries) {
    const parsed = readJson(positionSchema, text);
    if (parsed === undefined) continue;
    const { receiver, ...position } = parsed;
    positions.set(receiver, position);
  }
  return positions;
}

/** Writes those of all receivers: the stream keeps few, so one that is left out would be lost. Rejects with `StoreAwayError`. */
export async function writePositions(
  store: Pick<Store, "appendToStream">,
  positions: ReadonlyMap<string, Position>,
): Promise<void> {
  const texts = [...positions].map(([receiver, position]) => {
    const text = JSON.stringify({ receiver, ...position });
    if (text.length <= MAX_STREAM_TEXT_CHARS) return text;
    const { low } = position;
    return JSON.stringify({ receiver, low, high: low, held: {} });
  });
  await store.appendToStream("webhook-positions", texts);
}
