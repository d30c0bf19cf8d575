/**
 * The secret of an edge without CT_SECRET: made once, kept in the data directory, readable by its owner only.
 */
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import { MIN_SECRET_BYTES } from "../../shared/settings/secret.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";

/** The secret in `dataDir`. Makes one when there is none. Throws `SettingError` when it cannot be used. */
export function keepSecret(dataDir: string): string {
  const path = secretPath(dataDir);
  try {
    // "wx": when two programs start at once, one makes the secret and the other reads it.
    writeFileSync(path, `${randomBytes(48).toString("base64url")}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw unusable(path, describeError(error));
  }
  return readSecret(path);
}

/** The secret in `dataDir`; undefined when there is none. Throws `SettingError` when it cannot be used. */
export function findSecret(dataDir: string): string | undefined {
  const path = secretPath(dataDir);
  return existsSync(path) ? readSecret(path) : undefined;
}

function secretPath(dataDir: string): string {
  return join(dataDir, "secret");
}

function readSecret(path: string): string {
  let secret: string;
  try {
    secret = readTextFile(path).trim();
  } catch (error) {
    throw unusable(path, describeError(error));
  }
  if (secret.length < MIN_SECRET_BYTES) {
    throw unusable(path, `it is shorter than ${MIN_SECRET_BYTES} characters`);
  }
  return secret;
}

function unusable(path: string, problem: string): SettingError {
  return new SettingError(
    `the secret in ${path} cannot be used (${problem}); repair or remove the file, or set CT_SECRET`,
  );
}
