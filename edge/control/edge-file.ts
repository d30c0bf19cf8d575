/**
 * edge.json (0600) in the data directory of a running edge: its pid, control socket, processes and ports. Removed on a
 * graceful shutdown.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { replaceFileSync } from "../../shared/base/replace-file.ts";

const schema = z.object({
  pid: z.number().int().positive(),
  /** The start time of the process, because pids are reused; missing where there is no /proc. */
  started: z.string().optional(),
  controlSocket: z.string(),
  balancer: z.object({ pid: z.number().optional() }).optional(),
  workers: z.array(z.object({ pid: z.number().optional() })).optional(),
});

export type EdgeFile = z.infer<typeof schema>;

function pathIn(dataDir: string): string {
  return join(dataDir, "edge.json");
}

/** Atomic: readers see the whole new file or the old one. */
export function writeEdgeFile(dataDir: string, content: EdgeFile & Record<string, unknown>): void {
  replaceFileSync(pathIn(dataDir), JSON.stringify(content));
}

/** Undefined when there is no such file, or it cannot be parsed. */
export function readEdgeFile(dataDir: string): EdgeFile | undefined {
  try {
    return schema.safeParse(JSON.parse(readFileSync(pathIn(dataDir), "utf8"))).data;
  } catch {
    return undefined;
  }
}

export function removeEdgeFile(dataDir: string): void {
  rmSync(pathIn(dataDir), { force: true });
}
