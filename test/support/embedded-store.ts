/**
 * Embedded stores for tests: real ones, in folders and on sockets of their own, with a clock that a test may step.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { createLog, type Log } from "../../shared/logs/log.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import type { Store } from "../../shared/store/store.ts";

/** A new folder that is gone after `remove`. */
export function makeFolder(): { path: string; remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), "ct-test-"));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A log that keeps its lines. */
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

/** A client that has had its first answer. */
export async function connectStore(socketPath: string, log = createTestLog().log): Promise<Store> {
  const store = connectEmbeddedStore({ socketPath, clock: systemClock, log });
  await store.timeMs();
  return store;
}
