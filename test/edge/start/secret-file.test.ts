import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { findSecret, keepSecret } from "../../../edge/start/secret-file.ts";
import { tempFolder } from "../../support/temp-folder.ts";

let dataDir: string;

beforeEach(() => {
  dataDir = tempFolder();
});

test("a secret is made once, and only its owner can read it", () => {
  const secret = keepSecret(dataDir);
  expect(secret).toMatch(/^[\w-]{64}$/);
  expect(keepSecret(dataDir)).toBe(secret);
  expect(statSync(join(dataDir, "secret")).mode & 0o777).toBe(0o600);
});

test("a secret is found without making one", () => {
  expect(findSecret(dataDir)).toBeUndefined();
  const secret = keepSecret(dataDir);
  expect(findSecret(dataDir)).toBe(secret);
});

test("a byte order mark in a hand-written secret file is ignored", () => {
  const secret = "0123456789-0123456789-0123456789-0123456789";
  writeFileSync(join(dataDir, "secret"), `\ufeff${secret}\r\n`);
  expect(keepSecret(dataDir)).toBe(secret);
});

test("a truncated secret is refused, not replaced, because tokens depend on it", () => {
  writeFileSync(join(dataDir, "secret"), "short\n");
  expect(() => keepSecret(dataDir)).toThrow(
    /secret cannot be used \(it is shorter than 32.*CT_SECRET/,
  );
});

test("a missing folder for the secret is an error that names it", () => {
  expect(() => keepSecret(join(dataDir, "none"))).toThrow(/none\/secret cannot be used \(ENOENT/);
});
