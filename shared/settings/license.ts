/**
 * A license: the licensee, how many people may be in sessions at the same time, the last day, and the issuer's signature
 * over these three. Pure.
 *
 * The signature is Ed25519 (RFC 8032) over the canonical form, which is UTF-8 text: a first line with its type and version,
 * then `licensee=`, `maxConnections=` and `expiration=` with their values, each line ended by a line feed. Variables and
 * files may have these values in any order; the signed form is always the same.
 */
import { createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { SettingError } from "./read-settings.ts";

export interface License {
  readonly licensee: string;
  /** People in sessions at the same time, hosts and guests alike, in the whole edge. */
  readonly maxConnections: number;
  /** `yyyy/mm/dd`; the license is valid until the end of that day, UTC. */
  readonly expiration: string;
  /** Base64. */
  readonly signature: string;
}

/** `community`: there is no license, and nothing is limited. `expired` and `forged`: new sessions are refused. */
type LicenseStanding =
  | { readonly state: "community" }
  | { readonly state: "valid"; readonly license: License }
  | { readonly state: "expired"; readonly license: License }
  | { readonly state: "forged" };

const DAY_MS = 86_400_000;
const EXPIRATION = /^(\d{4})\/(\d{2})\/(\d{2})$/;
const MAX_LICENSEE_CHARS = 200;

export function canonicalForm(license: Omit<License, "signature">): string {
  const { licensee, maxConnections, expiration } = license;
  return `codetogether-license-1\nlicensee=${licensee}\nmaxConnections=${maxConnections}\nexpiration=${expiration}\n`;
}

/** Signs a license with the issuer's private `key`. */
export function issueLicense(license: Omit<License, "signature">, key: KeyObject): License {
  const signature = sign(null, Buffer.from(canonicalForm(license)), key).toString("base64");
  return { ...license, signature };
}

/** The state of a license at `wallMs`. Without the issuer's signature none of its values is used. */
export function judgeLicense(
  license: License | undefined,
  key: KeyObject | undefined,
  wallMs: number,
): LicenseStanding {
  if (license === undefined) return { state: "community" };
  if (key === undefined || !isSigned(license, key)) return { state: "forged" };
  return { state: wallMs < endMs(license.expiration) ? "valid" : "expired", license };
}

function isSigned(license: License, key: KeyObject): boolean {
  const signature = Buffer.from(license.signature, "base64");
  return verify(null, Buffer.from(canonicalForm(license)), key, signature);
}

function endMs(expiration: string): number {
  const [, year, month, day] = EXPIRATION.exec(expiration) ?? [];
  return Date.UTC(Number(year), Number(month) - 1, Number(day)) + DAY_MS;
}

// --- the license as operators write it ---

type WrittenLicense = Readonly<Partial<Record<keyof License, string | undefined>>>;

/**
 * Undefined if none of the values is set. Throws `SettingError` if only some are, or if one is malformed. A wrong signature
 * is not an error here (see `judgeLicense`): replacing the license must not be a way to keep an edge from starting.
 */
export function readLicense(written: WrittenLicense): License | undefined {
  const { licensee, maxConnections, expiration, signature } = written;
  const missing = [
    ["CT_LICENSEE", licensee],
    ["CT_MAXCONNECTIONS", maxConnections],
    ["CT_EXPIRATION", expiration],
    ["CT_SIGNATURE", signature],
  ].filter(([, value]) => value === undefined);
  if (missing.length === 4) return undefined;
  if (
    licensee === undefined ||
    maxConnections === undefined ||
    expiration === undefined ||
    signature === undefined
  ) {
    const names = missing.map(([name]) => name).join(", ");
    throw new SettingError(
      `the license is incomplete: ${names} is missing; set all four values or none`,
    );
  }
  if (!/^[^\p{Cc}]+$/u.test(licensee) || licensee.length > MAX_LICENSEE_CHARS) {
    throw new SettingError(
      `CT_LICENSEE=${JSON.stringify(licensee.slice(0, 40))} is not allowed; use a name of up to ${MAX_LICENSEE_CHARS} characters`,
    );
  }
  if (!/^[1-9]\d{0,6}$/.test(maxConnections)) {
    throw new SettingError(
      `CT_MAXCONNECTIONS=${JSON.stringify(maxConnections)} is not allowed; use a whole number from 1 to 9999999`,
    );
  }
  if (!isDay(expiration)) {
    throw new SettingError(
      `CT_EXPIRATION=${JSON.stringify(expiration)} is not allowed; use a day like 2027/12/31`,
    );
  }
  return { licensee, maxConnections: Number(maxConnections), expiration, signature };
}

function isDay(text: string): boolean {
  const [, year, month, day] = EXPIRATION.exec(text) ?? [];
  if (year === undefined) return false;
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
}

const NAMES = ["licensee", "maxConnections", "expiration", "signature"] as const;

/**
 * Parses a licensing.properties: lines `licensee=…` or `CT_LICENSEE=…`, in upper or lower case, optionally with `export` and
 * quotes as in shell files. Other lines are ignored.
 */
export function parseProperties(text: string): WrittenLicense {
  const values: Partial<Record<keyof License, string>> = {};
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?(?:CT_)?([A-Za-z_.]+)\s*[=:]\s*(.*?)\s*$/i.exec(line);
    const written = match?.[1]?.replaceAll(/[_.]/g, "").toLowerCase();
    const name = NAMES.find((one) => one.toLowerCase() === written);
    const value = (match?.[2] ?? "").replace(/^(["'])(.*)\1$/, "$2");
    if (name !== undefined && value !== "") values[name] = value;
  }
  return values;
}

/** The license as the text of a licensing.properties. */
export function showProperties(license: License): string {
  const { licensee, maxConnections, expiration, signature } = license;
  return `licensee=${licensee}\nmaxConnections=${maxConnections}\nexpiration=${expiration}\nsignature=${signature}\n`;
}

/** The issuer's public key: PEM, or the base64 of its DER form (SPKI). Throws `SettingError`. */
export function parsePublicKey(text: string): KeyObject {
  try {
    const key = text.includes("-----BEGIN")
      ? createPublicKey(text)
      : createPublicKey({ key: Buffer.from(text, "base64"), format: "der", type: "spki" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Reported below.
  }
  throw new SettingError(
    "CT_LICENSE_PUBLIC_KEY is not allowed; use an Ed25519 public key as PEM, or as base64 of its DER form",
  );
}
