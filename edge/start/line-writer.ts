/**
 * Writes the log lines of the edge and its processes to standard output and server.log: one writer, so that lines of several
 * processes never mix. It never blocks and never throws: when the disk is full or standard output is not read, lines are
 * dropped and counted, and memory stays bounded.
 */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import { LineFile } from "../../shared/logs/line-file.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";

/** Bytes queued for standard output before lines are dropped there. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** The used part of `process.stdout`. */
interface Terminal {
  write(text: string): unknown;
  readonly writableLength: number;
  readonly destroyed: boolean;
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

/** Opens server.log in CT_LOG_DIR, or in logs/ of the data directory. Returns its path. Throws `SettingError`. */
export function openLogFile(deps: {
  settings: Pick<Settings, "logDir" | "logMaxBytes" | "logMaxFiles">;
  dataDir: string;
  lines: LineWriter;
}): string {
  const { logDir, logMaxBytes, logMaxFiles } = deps.settings;
  const folder = logDir === undefined ? join(deps.dataDir, "logs") : resolve(logDir);
  const path = join(folder, "server.log");
  try {
    mkdirSync(folder, { recursive: true });
    deps.lines.open(path, { maxBytes: logMaxBytes, maxFiles: logMaxFiles });
  } catch (error) {
    throw new SettingError(
      `CT_LOG_DIR=${folder}: server.log cannot be written there (${describeError(error)}); set CT_LOG_DIR to a writable folder`,
    );
  }
  return path;
}
