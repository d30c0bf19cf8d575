/**
 * Where the licence of this edge is written, in variables or in licensing.properties, and what the log says of it.
 */

import type { KeyObject } from "node:crypto";
import { existsSync } from "node:fs";
import { describeError } from "../base/errors.ts";
import type { Log } from "../logs/log.ts";
import {
  judgeLicense,
  type License,
  parseProperties,
  parsePublicKey,
  readLicense,
} from "./license.ts";
import { SettingError, type Settings } from "./read-settings.ts";
import { readTextFile } from "./text-file.ts";

export type LicenseSettings = Pick<
  Settings,
  | "licensee"
  | "licenseMaxConnections"
  | "licenseExpiration"
  | "licenseSignature"
  | "licenseFile"
  | "licensePublicKey"
>;

/** Where it has always been. */
const STANDARD_FILE = "/opt/codetogether/licensing.properties";

export interface FoundLicense {
  readonly license: License | undefined;
  readonly publicKey: KeyObject | undefined;
}

/** Variables win over the file. Throws `SettingError` when what is written is no licence. */
export function findLicense(settings: LicenseSettings): FoundLicense {
  const { licensePublicKey } = settings;
  const publicKey = licensePublicKey === undefined ? undefined : parsePublicKey(licensePublicKey);
  const license =
    readLicense({
      licensee: settings.licensee,
      maxConnections: settings.licenseMaxConnections,
      expiration: settings.licenseExpiration,
      signature: settings.licenseSignature,
    }) ?? readLicenseFile(settings.licenseFile);
  return { license, publicKey };
}

/** `path`: as it was named; without one the standard place is looked at, where there may be none. */
export function readLicenseFile(path: string | undefined): License | undefined {
  const file = path ?? STANDARD_FILE;
  if (path === undefined && !existsSync(file)) return undefined;
  let text: string;
  try {
    text = readTextFile(file);
  } catch (error) {
    throw new SettingError(
      `CT_LICENSE_FILE=${file}: cannot be read (${describeError(error)}); name a readable file`,
    );
  }
  return readLicense(parseProperties(text));
}

/** Says once how the licence stands. The line of a valid one is the one that operators' scripts wait for. */
export function logLicense(found: FoundLicense, log: Log, wallMs: number): void {
  const standing = judgeLicense(found.license, found.publicKey, wallMs);
  switch (standing.state) {
    case "community":
      log.info({}, "no license is installed: community mode, nothing is limited");
      break;
    case "valid":
      log.info({}, "Valid CodeTogether license installed");
      break;
    case "expired": {
      const { licensee, expiration } = standing.license;
      log.error({ licensee, expiration }, "the license has expired: new sessions are refused");
      break;
    }
    case "forged": {
      const cause =
        found.publicKey === undefined
          ? "CT_LICENSE_PUBLIC_KEY, the issuer's key, is not set"
          : "its signature is not of the issuer of CT_LICENSE_PUBLIC_KEY, or it was changed";
      log.error({ cause }, "the license is not valid: new sessions are refused");
    }
  }
}
