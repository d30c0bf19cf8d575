/** Sends changes of files to the guests, many in one message. Excluded files are never named. */
import type { FileChange } from "../model/files.ts";
import { isExcluded } from "./paths.ts";
import { changeTypeOf } from "./wire.ts";

const PERIOD_MS = 100;
/** Of one message; the rest follows in the next ones. */
const MAX_CHANGES = 500;
/** A build or a checkout changes tens of thousands of files: guests list their folders again when they open them. */
const MAX_WAITING = 20_000;

interface WireChange {
  readonly path: string;
  readonly type: number;
}

export function announceChanges(send: (changes: WireChange[]) => Promise<void>) {
  /** By kind and path: what is repeated within a period is sent once, at its last place. */
  const waiting = new Map<string, WireChange>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;

  function sendSome(): void {
    const some = [...waiting].slice(0, MAX_CHANGES);
    for (const [key] of some) waiting.delete(key);
    timer = waiting.size > 0 ? setTimeout(sendSome, PERIOD_MS) : undefined;
    // Without a connection there is nobody to tell; guests list folders again when they are back.
    send(some.map(([, change]) => change)).catch(() => undefined);
  }

  return {
    add(path: string, change: FileChange): void {
      if (isClosed || isExcluded(path) || waiting.size >= MAX_WAITING) return;
      const key = `${change} ${path}`;
      waiting.delete(key);
      waiting.set(key, { path, type: changeTypeOf(change) });
      timer ??= setTimeout(sendSome, PERIOD_MS);
    },
    close(): void {
      isClosed = true;
      clearTimeout(timer);
      waiting.clear();
    },
  };
}
