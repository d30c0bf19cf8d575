import { X509Certificate } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { keepCertificate } from "../../../edge/start/certificate.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const nowMs = Date.parse("2026-01-01T00:00:00Z");
let dataDir: string;

beforeEach(() => {
  dataDir = tempFolder();
});

const read = (path: string): X509Certificate => new X509Certificate(readFileSync(path));

test("a certificate is made once and kept, its key readable by the owner only", async () => {
  const files = await keepCertificate({ dataDir, serverUrl: undefined, nowMs });
  const first = read(files.cert);
  expect(first.checkHost("localhost")).toBe("localhost");
  expect(first.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(statSync(files.key).mode & 0o777).toBe(0o600);
  await keepCertificate({ dataDir, serverUrl: undefined, nowMs: nowMs + 30 * DAY_MS });
  expect(read(files.cert).fingerprint256).toBe(first.fingerprint256);
});

test("a certificate is renewed shortly before it expires", async () => {
  const files = await keepCertificate({ dataDir, serverUrl: undefined, nowMs });
  const first = read(files.cert);
  await keepCertificate({ dataDir, serverUrl: undefined, nowMs: nowMs + 815 * DAY_MS });
  expect(read(files.cert).fingerprint256).not.toBe(first.fingerprint256);
});

test("a certificate that does not name the server's host is replaced", async () => {
  await keepCertificate({ dataDir, serverUrl: undefined, nowMs });
  const serverUrl = "https://edge.example.com/base";
  const files = await keepCertificate({ dataDir, serverUrl, nowMs });
  expect(read(files.cert).checkHost("edge.example.com")).toBe("edge.example.com");
});

test("a damaged certificate is replaced", async () => {
  const files = await keepCertificate({ dataDir, serverUrl: undefined, nowMs });
  writeFileSync(files.cert, "-----BEGIN CERT");
  await keepCertificate({ dataDir, serverUrl: undefined, nowMs });
  expect(read(files.cert).checkHost("localhost")).toBe("localhost");
});

test("a certificate folder that cannot be made is an error that names it and what to do", async () => {
  const file = join(dataDir, "file");
  writeFileSync(file, "");
  await expect(keepCertificate({ dataDir: file, serverUrl: undefined, nowMs })).rejects.toThrow(
    /certificate in .*file\/tls cannot be written .*CT_TLS_CERT/,
  );
});
