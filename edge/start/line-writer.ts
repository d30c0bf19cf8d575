/**
 * Writes the log lines of the edge and its processes to standard output and server.log: one writer, so that lines of several
 * processes never mix. It never blocks and never throws: when the disk is full or standard output is not read, lines are
 * dropped and counted, and memory stays bounded.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { LineFile } from "../../shared/logs/line-file.ts";

/** Bytes queued for standard output before lines are dropped there. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** The used part of `process.stdout`. */
export interface Terminal {
  write(text: string): unknown;
  readonly writableLength: number;
  readonly destroyed: boolean;
}

export function createLineWriter(deps: { terminal: Terminal; clock: Clock }): LineWriter {
  return new LineWriter(deps);
}

export class LineWriter extends LineFile {
  readonly #terminal: Terminal;

  constructor({ terminal, clock }: { terminal: Terminal; clock: Clock }) {
    super({ clock });
    this.#terminal = terminal;
  }

  /** Writes to both; `takeDropped` counts the lines that are not in the file. */
  override write(line: string): void {
    const terminal = this.#terminal;
    if (!terminal.destroyed && terminal.writableLength < MAX_QUEUED_BYTES) terminal.write(line);
    super.write(line);
  }
}
