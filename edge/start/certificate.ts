/**
 * The certificate of an edge without CT_TLS_CERT: self-signed, kept in the data directory, and renewed before it expires.
 */
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";
import { describeError } from "../../shared/base/errors.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";

export interface CertificateFiles {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** The longest that Apple's TLS clients accept for a certificate that the user trusts by hand. */
const LIFETIME_MS = 825 * DAY_MS;
/** A certificate with less time left is renewed at start. */
const RENEW_BEFORE_MS = 14 * DAY_MS;

/**
 * The self-signed certificate in `dataDir`, for this machine's names and the host of `serverUrl`. Makes a new one when there
 * is none, when it is about to expire, or when it does not name that host. Throws `SettingError` when it cannot be written.
 */
export async function keepCertificate(from: {
  dataDir: string;
  serverUrl: string | undefined;
  nowMs: number;
}): Promise<CertificateFiles> {
  const folder = join(from.dataDir, "tls");
  const files = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  const hosts = hostsOf(from.serverUrl);
  try {
    if (isUsable(files, hosts, from.nowMs)) return files;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const made = await makeCertificate(hosts, from.nowMs);
    writeFileSync(files.key, made.private, { mode: 0o600 });
    writeFileSync(files.cert, made.cert, { mode: 0o644 });
  } catch (error) {
    throw new SettingError(
      `the self-signed certificate in ${folder} cannot be written (${describeError(error)}); make the folder writable, or set CT_TLS_CERT and CT_TLS_KEY`,
    );
  }
  return files;
}

function hostsOf(serverUrl: string | undefined): string[] {
  const hosts = ["localhost", hostname().toLowerCase(), "127.0.0.1", "::1"];
  if (serverUrl !== undefined) hosts.push(new URL(serverUrl).hostname.toLowerCase());
  // A host name that is not a DNS name (with an underscore, or empty) would make the whole certificate invalid.
  return [...new Set(hosts)].filter((host) => isIP(host) !== 0 || /^[a-z0-9.-]+$/.test(host));
}

function isUsable(files: CertificateFiles, hosts: readonly string[], nowMs: number): boolean {
  if (!existsSync(files.cert) || !existsSync(files.key)) return false;
  try {
    const certificate = new X509Certificate(readFileSync(files.cert));
    const names = certificate.subjectAltName ?? "";
    return (
      Date.parse(certificate.validTo) - nowMs > RENEW_BEFORE_MS &&
      hosts.every((host) => isIP(host) !== 0 || names.includes(`DNS:${host}`))
    );
  } catch {
    // Not a certificate (such as an incomplete write): make a new one.
    return false;
  }
}

function makeCertificate(hosts: readonly string[], nowMs: number): ReturnType<typeof generate> {
  return generate([{ name: "commonName", value: hosts[0] ?? "localhost" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    // An hour back, for clients whose clock is slow.
    notBeforeDate: new Date(nowMs - DAY_MS / 24),
    notAfterDate: new Date(nowMs + LIFETIME_MS - DAY_MS),
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: hosts.map((host) =>
          isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host },
        ),
      },
    ],
  });
}
