/**
 * Writes the log lines of the edge and its processes to standard output and server.log: one writer, so that lines of several
 * processes never mix. It never blocks and never throws: when the disk is full or standard output is not read, lines are
 * dropped and counted, and memory stays bounded.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { createLineFile, type LineFile } from "../../shared/logs/line-file.ts";

export interface LineWriter extends LineFile {
  /** Writes to both; `takeDropped` counts the lines that are not in the file. */
  write(line: string): void;
}

/** Bytes queued for standard output before lines are dropped there. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** The used part of `process.stdout`. */
export interface Terminal {
  write(text: string): unknown;
  readonly writableLength: number;
  readonly destroyed: boolean;
}

export function createLineWriter(deps: { terminal: Terminal; clock: Clock }): LineWriter {
  const file = createLineFile({ clock: deps.clock });
  return {
    ...file,
    write(line) {
      const { terminal } = deps;
      if (!terminal.destroyed && terminal.writableLength < MAX_QUEUED_BYTES) terminal.write(line);
      file.write(line);
    },
  };
}
