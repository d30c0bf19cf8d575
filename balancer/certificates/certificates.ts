/**
 * The certificates of the public HTTPS port: loaded and checked at start, so that a wrong file is one clear error and not a
 * failed handshake later, and reloaded when they change.
 */
import { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";
import type { TlsCertificate } from "../transport/transport.ts";

export interface Certificate extends TlsCertificate {
  /** Its host names and addresses, as in the certificate. */
  readonly names: string;
  /** Wall time in ms, as the next. */
  readonly startsMs: number;
  readonly expiresMs: number;
}

/** CT_TLS_CERT and CT_TLS_KEY: the n-th key is that of the n-th certificate. */
export interface CertificateFiles {
  readonly cert: readonly string[];
  readonly key: readonly string[];
}

/**
 * The first serves clients that send no SNI or an unknown name. Empty when no file is configured: then there is no HTTPS
 * port. Throws `SettingError`.
 */
export function loadCertificates(files: CertificateFiles): readonly Certificate[] {
  if (files.cert.length > 0 && files.key.length === 0) throw missing("CT_TLS_KEY", "CT_TLS_CERT");
  if (files.cert.length === 0 && files.key.length > 0) throw missing("CT_TLS_CERT", "CT_TLS_KEY");
  if (files.cert.length !== files.key.length) {
    throw new SettingError(
      `CT_TLS_CERT names ${files.cert.length} files and CT_TLS_KEY ${files.key.length}; name one key for each certificate, in the same order`,
    );
  }
  return files.cert.map((path, index) => loadCertificate(path, files.key[index] ?? ""));
}

function loadCertificate(certPath: string, keyPath: string): Certificate {
  const cert = readPem("CT_TLS_CERT", certPath);
  const key = readPem("CT_TLS_KEY", keyPath);
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(cert);
  } catch (error) {
    throw unusable("CT_TLS_CERT", certPath, "it is not a PEM certificate", error);
  }
  if (isEncrypted(key)) {
    throw new SettingError(
      `CT_TLS_KEY=${keyPath}: it is protected by a passphrase, and there is no prompt for one; remove it with: openssl pkey -in ${shellWord(keyPath)} -out key.pem, and keep that readable by this user only`,
    );
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw unusable("CT_TLS_KEY", keyPath, "it is not the private key of CT_TLS_CERT", error);
  }
  return describeCertificate(parsed, cert, key);
}

/** From PEM that the edge has obtained itself. Throws when they do not belong together. */
export function parseCertificate(cert: string, key: string): Certificate {
  createSecureContext({ cert, key });
  return describeCertificate(new X509Certificate(cert), cert, key);
}

function describeCertificate(parsed: X509Certificate, cert: string, key: string): Certificate {
  return {
    cert,
    key,
    isFor: (name) => isFor(parsed, name),
    names: parsed.subjectAltName ?? parsed.subject,
    startsMs: Date.parse(parsed.validFrom),
    expiresMs: Date.parse(parsed.validTo),
  };
}

/** Whether the first private key of a PEM file, the one that is used, is encrypted: as PKCS#8, or as in RFC 1421 §4.6.1.1. */
function isEncrypted(pem: string): boolean {
  const [, label, headers] =
    /-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----\s+([\s\S]{0,200})/.exec(pem) ?? [];
  if (label === undefined) return false;
  return label.startsWith("ENCRYPTED ") || /^Proc-Type:\s*4,\s*ENCRYPTED/im.test(headers ?? "");
}

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** `name` comes from the client and may be anything. */
function isFor(certificate: X509Certificate, name: string): boolean {
  try {
    return certificate.checkHost(name) !== undefined;
  } catch {
    return false;
  }
}

function readPem(name: string, path: string): string {
  try {
    return readTextFile(path);
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

// --- reloading ---

/** How often the files are checked: file system events do not report what container mounts replace. */
const WATCH_PERIOD_MS = 5000;
const EXPIRES_SOON_MS = 14 * 24 * 3600 * 1000;

export interface CertificateWatch {
  /** Loads them now, whether they changed or not. */
  reload(): void;
  close(): void;
}

/**
 * Reloads the certificates when one of their files has changed, and passes them to `use`. When they cannot be loaded, logs
 * that once and keeps the previous ones; a key that is replaced a moment after its certificate is a change of its own.
 */
export function watchCertificates(deps: {
  files: CertificateFiles;
  /** `signatureOf` the files before the present certificates were loaded. */
  signature: string;
  use: (certificates: readonly Certificate[]) => void;
  clock: Clock;
  log: Log;
}): CertificateWatch {
  const { files, clock, log } = deps;
  let seen = deps.signature;

  function reload(): void {
    seen = signatureOf(files);
    try {
      const certificates = loadCertificates(files);
      deps.use(certificates);
      log.info({ certificates: certificates.map(describe) }, "certificates reloaded");
      warnOfExpiry(certificates, clock.wallMs(), log);
    } catch (err) {
      log.error({ err }, "cannot load the new certificates; still using the previous ones");
    }
  }

  const timer: Timer = clock.every(WATCH_PERIOD_MS, () => {
    if (signatureOf(files) !== seen) reload();
  });
  return { reload, close: () => timer.cancel() };
}

/** Logs each certificate that has expired or soon will. */
export function warnOfExpiry(certificates: readonly Certificate[], nowMs: number, log: Log): void {
  for (const certificate of certificates) {
    if (!expiresSoon(certificate, nowMs)) continue;
    const message =
      certificate.expiresMs > nowMs ? "certificate expires soon" : "certificate has expired";
    log.warn({ certificate: describe(certificate) }, `${message}; renew it and replace the file`);
  }
}

/** Whether it has expired or will within two weeks. */
export function expiresSoon(certificate: Certificate, nowMs: number): boolean {
  return certificate.expiresMs - nowMs <= EXPIRES_SOON_MS;
}

/** Until the first of them expires, 0 afterwards; undefined without certificates. */
export function expiresInMs(
  certificates: readonly Pick<Certificate, "expiresMs">[],
  nowMs: number,
): number | undefined {
  if (certificates.length === 0) return undefined;
  const firstMs = Math.min(...certificates.map(({ expiresMs }) => expiresMs));
  return Math.max(0, firstMs - nowMs);
}

/** For logs and pages: its names and its last day. */
export function describe({ names, expiresMs }: Certificate): string {
  return `${names}, until ${new Date(expiresMs).toISOString().slice(0, 10)}`;
}

/** Changes with any of the files. */
export function signatureOf({ cert, key }: CertificateFiles): string {
  return [...cert, ...key].map(signatureOfFile).join("\n");
}

function signatureOfFile(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return "missing";
  }
}
