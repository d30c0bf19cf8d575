/** Opens server.log. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { describeError } from "../../shared/base/errors.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import type { LineWriter } from "./line-writer.ts";

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
