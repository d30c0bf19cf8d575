/**
 * The version of the companion. IDEs update only to a higher version, and URLs have no order, so the store records each
 * change of the companion's content with its time, which becomes the version. A return to former content is a change too.
 * After the loss of the store's data the time, and with it the version, still rises.
 */
import { createHash } from "node:crypto";
import type { Store } from "../../../shared/store/store.ts";
import { type CompanionContent, TEMPLATE_VERSION } from "./package.ts";

/** One change of the content, of which all workers with this content derive the same version. */
interface Change {
  /** 1, 2, … */
  readonly number: number;
  readonly digest: string;
}

type ChangeStore = Pick<Store, "put" | "addToCounters" | "readCounters" | "timeMs">;

/** Each change is a counter of this name, `companion/NUMBER/DIGEST`, and a value of the same name with its time. */
const PREFIX = "companion/";
const SECOND_MS = 1000;

/**
 * The time in ms, in whole seconds, since which this is the companion's content. `isNew`: this worker did not have this
 * content before, so it becomes the newest; otherwise another worker's newer content stays newer, as during a rolling change
 * of CT_SERVER_URL. Rejects with `StoreAwayError`.
 */
export async function agreeOnTime(
  store: ChangeStore,
  content: CompanionContent,
  { isNew }: { readonly isNew: boolean },
): Promise<number> {
  const digest = digestOf(content);
  const changes = await readChanges(store);
  const latest = changes.at(-1);
  const isOwn = (change: Change): boolean => change.digest === digest;
  const own = isNew ? changes.slice(-1).find(isOwn) : changes.findLast(isOwn);
  if (own !== undefined) return timeOf(store, own, 0);
  const afterMs = latest === undefined ? 0 : await timeOf(store, latest, 0);
  const change = { number: (latest?.number ?? 0) + 1, digest };
  // The time first: a change that is listed has one.
  const atMs = await timeOf(store, change, afterMs + SECOND_MS);
  await store.addToCounters({ [nameOf(change)]: 1 });
  return atMs;
}

/** `1.20300131.235959` for the first template and a time (UTC). */
export function versionAt(atMs: number): string {
  const time = new Date(atMs).toISOString();
  const day = time.slice(0, 10).replaceAll("-", "");
  // As a number, because semantic versions have no leading zeros.
  const secondOfDay = Number(time.slice(11, 19).replaceAll(":", ""));
  return `${TEMPLATE_VERSION}.${day}.${secondOfDay}`;
}

/** Oldest first. Of two with one number, which two workers wrote at the same moment, the order is the same for all. */
async function readChanges(store: ChangeStore): Promise<Change[]> {
  const names = Object.keys(await store.readCounters(PREFIX));
  return names
    .flatMap((name) => {
      const [, number = "", digest = ""] = /^companion\/(\d{1,9})\/([0-9a-f]+)$/.exec(name) ?? [];
      return digest === "" ? [] : [{ number: Number(number), digest }];
    })
    .sort((a, b) => a.number - b.number || (a.digest < b.digest ? -1 : 1));
}

/** The time of a change; at least `earliestMs` for one that has none yet. */
async function timeOf(store: ChangeStore, change: Change, earliestMs: number): Promise<number> {
  const nowMs = Math.floor((await store.timeMs()) / SECOND_MS) * SECOND_MS;
  const text = await store.put({
    kind: "agreed",
    key: nameOf(change),
    text: String(Math.max(nowMs, earliestMs)),
  });
  const atMs = Number(text);
  if (!Number.isSafeInteger(atMs)) throw new Error(`${nameOf(change)} in the store is no time`);
  return atMs;
}

function nameOf({ number, digest }: Change): string {
  return `${PREFIX}${number}/${digest}`;
}

function digestOf({ serverUrl, dependency }: CompanionContent): string {
  const text = `${serverUrl}\n${dependency.toLowerCase()}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
