/** Licenses: the signed form, the form that operators write, and the resulting state. */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  canonicalForm,
  issueLicense,
  judgeLicense,
  type License,
  parseProperties,
  parsePublicKey,
  readLicense,
  showProperties,
} from "../../../shared/settings/license.ts";
import { findLicense, logLicense } from "../../../shared/settings/license-file.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";
import { collectingLog } from "../../support/logs.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const TERMS = { licensee: "Gruber & Söhne", maxConnections: 25, expiration: "2030/06/30" };
const LICENSE = issueLicense(TERMS, privateKey);
const MIDNIGHT = Date.UTC(2030, 6, 1);

test("the signed form of a license never changes", () => {
  expect(canonicalForm(TERMS)).toBe(
    "codetogether-license-1\nlicensee=Gruber & Söhne\nmaxConnections=25\nexpiration=2030/06/30\n",
  );
});

describe("a license", () => {
  test("a license is valid until the end of its last day, and then expired", () => {
    expect(judgeLicense(LICENSE, publicKey, MIDNIGHT - 1).state).toBe("valid");
    expect(judgeLicense(LICENSE, publicKey, MIDNIGHT).state).toBe("expired");
  });

  test.each<[string, License]>([
    ["another name", { ...LICENSE, licensee: "Somebody" }],
    ["a higher limit", { ...LICENSE, maxConnections: 26 }],
    ["a later day", { ...LICENSE, expiration: "2030/07/01" }],
    ["no signature", { ...LICENSE, signature: "" }],
    ["a malformed signature", { ...LICENSE, signature: "not base64 at all" }],
    [
      "another issuer's signature",
      { ...issueLicense(TERMS, generateKeyPairSync("ed25519").privateKey) },
    ],
  ])("a license with %s is forged", (_what, license) => {
    expect(judgeLicense(license, publicKey, 0)).toEqual({ state: "forged" });
  });

  test("a license counts as forged without an issuer's key, and no license is community mode", () => {
    expect(judgeLicense(LICENSE, undefined, 0)).toEqual({ state: "forged" });
    expect(judgeLicense(undefined, publicKey, 0)).toEqual({ state: "community" });
    expect(judgeLicense(undefined, undefined, 0)).toEqual({ state: "community" });
  });
});

describe("a license in variables or a file", () => {
  test("a license in variables or a file is read back as it was issued", () => {
    expect(readLicense(parseProperties(showProperties(LICENSE)))).toEqual(LICENSE);
  });

  test("a license may be a shell file, in any case and order, among other lines", () => {
    const text = `# ours\r\nexport CT_SIGNATURE='${LICENSE.signature}'\r\nCT_EXPIRATION = 2030/06/30\nct_maxconnections: 25\nlicense.server=no\nexport CT_LICENSEE="Gruber & Söhne"\n`;
    expect(readLicense(parseProperties(text))).toEqual(LICENSE);
  });

  const written = { licensee: "A", maxConnections: "5", expiration: "2030/01/31", signature: "s" };

  test("a license has all four values or none", () => {
    expect(readLicense(parseProperties(""))).toBeUndefined();
    expect(() => readLicense({ ...written, signature: undefined, licensee: undefined })).toThrow(
      "the license is incomplete: CT_LICENSEE, CT_SIGNATURE is missing; set all four values or none",
    );
  });

  test.each([
    [{ maxConnections: "0" }, 'CT_MAXCONNECTIONS="0" is not allowed'],
    [{ maxConnections: "-1" }, 'CT_MAXCONNECTIONS="-1" is not allowed'],
    [{ maxConnections: "many" }, 'CT_MAXCONNECTIONS="many" is not allowed'],
    [{ expiration: "2030-01-31" }, 'CT_EXPIRATION="2030-01-31" is not allowed'],
    [{ expiration: "2030/02/30" }, 'CT_EXPIRATION="2030/02/30" is not allowed'],
    [{ expiration: "2030/13/01" }, 'CT_EXPIRATION="2030/13/01" is not allowed'],
    [{ licensee: "A\nmaxConnections=9" }, "CT_LICENSEE="],
    [{ licensee: "A".repeat(201) }, "CT_LICENSEE="],
  ])("a license with %j prevents the start with the name of the value", (bad, message) => {
    expect(() => readLicense({ ...written, ...bad })).toThrow(message);
  });

  test("the issuer's key is PEM or DER, and Ed25519", () => {
    const pem = publicKey.export({ format: "pem", type: "spki" }).toString();
    const der = publicKey.export({ format: "der", type: "spki" }).toString("base64");
    for (const text of [pem, der]) expect(parsePublicKey(text).equals(publicKey)).toBe(true);
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
    for (const text of ["nonsense", rsa.export({ format: "pem", type: "spki" }).toString()]) {
      expect(() => parsePublicKey(text)).toThrow("CT_LICENSE_PUBLIC_KEY is not allowed");
    }
  });
});

describe("the license of an edge", () => {
  const key = publicKey.export({ format: "der", type: "spki" }).toString("base64");
  const find = (env: Record<string, string>) =>
    findLicense(readSettings({ role: "worker", env: { CT_LICENSE_PUBLIC_KEY: key, ...env } }));

  function file(text: string): string {
    const folder = tempFolder();
    const path = join(folder, "licensing.properties");
    writeFileSync(path, text);
    return path;
  }

  test("the license of an edge is found in a file, or in variables, which win", () => {
    const CT_LICENSE_FILE = file(showProperties(LICENSE));
    expect(find({ CT_LICENSE_FILE }).license).toEqual(LICENSE);
    const other = issueLicense({ ...TERMS, maxConnections: 7 }, privateKey);
    const variables = {
      CT_LICENSEE: other.licensee,
      CT_MAXCONNECTIONS: "7",
      CT_EXPIRATION: other.expiration,
      CT_SIGNATURE: other.signature,
    };
    expect(find({ CT_LICENSE_FILE, ...variables }).license).toEqual(other);
  });

  test("a license in a configured file that is missing prevents the start", () => {
    expect(() => find({ CT_LICENSE_FILE: "/nowhere/license" })).toThrow(
      "CT_LICENSE_FILE=/nowhere/license: cannot be read",
    );
  });

  test.each([
    ["valid", LICENSE, MIDNIGHT - 1, " INFO Valid CodeTogether license installed\n"],
    ["expired", LICENSE, MIDNIGHT, " ERROR the license has expired, so new sessions are refused"],
    ["forged", { ...LICENSE, maxConnections: 99 }, 0, " ERROR the license is not valid"],
    ["none", undefined, 0, " INFO no license is installed: community mode"],
  ] as const)(
    "the license of an edge is logged in one line: %s",
    (_state, license, wallMs, line) => {
      const { log, lines } = collectingLog();
      logLicense({ license, publicKey }, log, wallMs);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(line);
      expect(lines[0]?.includes("Valid CodeTogether")).toBe(_state === "valid");
    },
  );
});
