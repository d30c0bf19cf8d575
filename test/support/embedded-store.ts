/**
 * Real embedded stores for tests, each with its own folder and socket, and helpers for folders and logs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { createLog, type Log } from "../../shared/logs/log.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import type { Store } from "../../shared/store/store.ts";

/** Creates a temporary folder; `remove` deletes it. */
export function makeFolder(): { path: string; remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), "ct-test-"));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A log that collects its lines. */
export function createTestLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const log = createLog({
    name: "test",
    level: "debug",
    format: "text",
    sink: { write: (line) => lines.push(line) },
  });
  return { log, lines };
}

/** A client that has received its first response. */
export async function connectStore(socketPath: string, log = createTestLog().log): Promise<Store> {
  const store = connectEmbeddedStore({ socketPath, clock: systemClock, log });
  await store.timeMs();
  return store;
}
