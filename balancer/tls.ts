/**
 * The certificate of the public HTTPS port: loaded and checked at start, so that a wrong file is one clear line and not a
 * failed handshake later.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { SettingError } from "../shared/config.ts";
import { describeError } from "../shared/errors.ts";

export interface Certificate {
  /** PEM, with the chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

/** Undefined when neither file is named: then there is no HTTPS port. Throws `SettingError`. */
export function loadCertificate(files: {
  cert: string | undefined;
  key: string | undefined;
}): Certificate | undefined {
  if (files.cert === undefined && files.key === undefined) return undefined;
  if (files.cert === undefined) throw missing("CT_TLS_CERT", "CT_TLS_KEY");
  if (files.key === undefined) throw missing("CT_TLS_KEY", "CT_TLS_CERT");
  const cert = readPem("CT_TLS_CERT", files.cert);
  const key = readPem("CT_TLS_KEY", files.key);
  try {
    new X509Certificate(cert);
  } catch (error) {
    throw unusable("CT_TLS_CERT", files.cert, "it is no certificate in PEM form", error);
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw unusable("CT_TLS_KEY", files.key, "it is not the private key of CT_TLS_CERT", error);
  }
  return { cert, key };
}

function readPem(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unusable(name, path, `it cannot be read (${describeError(error)})`, error);
  }
}

function missing(name: string, other: string): SettingError {
  return new SettingError(`${name} is not set, but ${other} is; set both to PEM files, or neither`);
}

function unusable(name: string, path: string, why: string, cause: unknown): SettingError {
  return new SettingError(`${name}=${path}: ${why}; name a PEM file that this user may read`, {
    cause,
  });
}
