/**
 * What a running edge writes about itself into its data directory (edge.json, 0600): its pid, where it can be asked, its
 * processes and ports. Removed when it ends in order.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const schema = z.object({
  pid: z.number().int().positive(),
  /** When the system started it, to tell a pid that is used again; missing where there is no /proc. */
  started: z.string().optional(),
  controlSocket: z.string(),
  balancer: z.object({ pid: z.number().optional() }).optional(),
  workers: z.array(z.object({ pid: z.number().optional() })).optional(),
});

export type EdgeFile = z.infer<typeof schema>;

function pathIn(dataDir: string): string {
  return join(dataDir, "edge.json");
}

/** Whoever reads the file sees all of it or what was there before. */
export function writeEdgeFile(dataDir: string, content: EdgeFile & Record<string, unknown>): void {
  const path = pathIn(dataDir);
  writeFileSync(`${path}.new`, JSON.stringify(content), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Undefined when there is none, or it is not one. */
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
