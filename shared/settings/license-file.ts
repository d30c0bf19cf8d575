/**
 * Reads the license of this edge from its variables or from licensing.properties, and logs its state.
 */

import { existsSync } from "node:fs";
import type { Log } from "../logs/log.ts";
import {
  judgeLicense,
  type License,
  parseProperties,
  parsePublicKey,
  readLicense,
} from "./license.ts";
import { readNamedFile, type Slice } from "./read-settings.ts";

export const LICENSE_SETTINGS = [
  "licensee",
  "licenseMaxConnections",
  "licenseExpiration",
  "licenseSignature",
  "licenseFile",
  "licensePublicKey",
] as const;
export type LicenseSettings = Slice<typeof LICENSE_SETTINGS>;

/** The place that installations have always used. */
const STANDARD_FILE = "/opt/codetogether/licensing.properties";

export type FoundLicense = ReturnType<typeof findLicense>;

/** Variables win over the file. Throws `SettingError` if the license is malformed. */
export function findLicense(settings: LicenseSettings) {
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

/** Reads the file at `path`, or without one the file in the standard place, if there is one. */
export function readLicenseFile(path: string | undefined): License | undefined {
  const file = path ?? STANDARD_FILE;
  if (path === undefined && !existsSync(file)) return undefined;
  return readLicense(parseProperties(readNamedFile("CT_LICENSE_FILE", file, "file")));
}

/** Logs the state of the license. Operators' scripts wait for the line of a valid license, so its text must not change. */
export function logLicense(found: FoundLicense, log: Log, wallMs: number): void {
  const standing = judgeLicense(found.license, found.publicKey, wallMs);
  switch (standing.state) {
    case "community":
      log.info({}, "no license is installed: community mode without limits");
      break;
    case "valid":
      log.info({}, "Valid CodeTogether license installed");
      break;
    case "expired": {
      const { licensee, expiration } = standing.license;
      log.error(
        { licensee, expiration },
        "the license has expired, so new sessions are refused; install a new license and restart",
      );
      break;
    }
    case "forged": {
      const cause =
        found.publicKey === undefined
          ? "CT_LICENSE_PUBLIC_KEY is not set; set it to the issuer's public key"
          : "its signature does not match CT_LICENSE_PUBLIC_KEY; the license was changed, or it is from another issuer";
      log.error({ cause }, "the license is not valid, so new sessions are refused");
    }
  }
}
