/**
 * The one writer of the edge's log lines: standard output and server.log. Children hand their lines to it, so that lines
 * of several processes never mix. It never blocks and never fails its callers: when the disk is full or nobody reads
 * standard output, lines are dropped and counted, and memory stays bounded.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { createLineFile, type LineFile } from "../../shared/logs/line-file.ts";

export interface LineWriter extends LineFile {
  /** To both; `takeDropped` counts those that are not in the file. */
  write(line: string): void;
}

/** Bytes that wait for whoever reads standard output, before lines are dropped there. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** What is used of `process.stdout`. */
export interface Terminal {
  write(text: string): unknown;
  readonly writableLength: number;
  readonly destroyed: boolean;
}

export function createLineWriter(needs: { terminal: Terminal; clock: Clock }): LineWriter {
  const file = createLineFile({ clock: needs.clock });
  return {
    ...file,
    write(line) {
      const { terminal } = needs;
      if (!terminal.destroyed && terminal.writableLength < MAX_QUEUED_BYTES) terminal.write(line);
      file.write(line);
    },
  };
}
