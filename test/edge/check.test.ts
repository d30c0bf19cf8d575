/** `ct-edge check`: all problems at once. */
import { generateKeyPairSync } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";
import { expect, test } from "vitest";
import { check } from "../../edge/commands/machine/check.ts";
import { runCommand } from "../support/command.ts";
import { tempFolder } from "../support/temp-folder.ts";

const { cert: CERTIFICATE } = await generate([{ name: "commonName", value: "edge.example" }]);

test("every wrong setting is named with its value and what is allowed; secrets are not shown", () => {
  const { out, problems } = check(
    "edge",
    {
      CT_PORT: "eighty",
      CT_SECRET: "short-canary",
      CT_LOG_LEVEL: "loud",
      CT_SERVER_URL: "http://edge.example.com",
      CT_TRUSTED_PROXIES: "10.0.0.0/99",
      CT_TLS_CERT: "/tls/cert.pem",
      CT_LICENSEE: "Us",
      CT_PROT: "8080",
    },
    { workerCount: "0" },
  );
  expect(problems).toHaveLength(8);
  for (const part of [
    'CT_PORT="eighty" is not allowed; use a whole number from 0 to 65535',
    "CT_SECRET=(not shown) is not allowed; use at least 32 characters",
    'CT_LOG_LEVEL="loud" is not allowed; use debug, info, warn, error',
    'CT_SERVER_URL="http://edge.example.com" is not allowed',
    '--worker-count="0" is not allowed',
    'CT_TRUSTED_PROXIES="10.0.0.0/99" is not allowed',
    "CT_TLS_CERT is set without CT_TLS_KEY",
    "the license is incomplete: CT_MAXCONNECTIONS, CT_EXPIRATION, CT_SIGNATURE is missing",
  ]) {
    expect(problems.join("\n")).toContain(part);
  }
  expect(out).toContain("! CT_PROT is not a setting");
  expect(problems.join() + out).not.toContain("canary");
});

test("a removed setting is reported with what replaces it, by ct-edge check and ct-balancer check", async () => {
  const told =
    "is no longer a setting. Remove it, and set CT_HEADER_TIMEOUT_MS, which limits the TLS handshake too.";
  const env = { CT_TLS_HANDSHAKE_TIMEOUT_MS: "9000" };
  const { out, problems } = check("edge", env, {});
  expect(problems).toEqual([`CT_TLS_HANDSHAKE_TIMEOUT_MS ${told}`]);
  expect(out).not.toContain("CT_TLS_HANDSHAKE_TIMEOUT_MS");
  const flag = "--tls-handshake-timeout-ms=9000";
  const asProcess = await runCommand(["check", "--role", "balancer", flag]);
  expect(asProcess).toMatchObject({
    status: 1,
    stderr: expect.stringContaining(`tls-handshake-timeout-ms ${told}\n`),
  });
});

test("a valid secret is not shown either, and the defaults have no problems", () => {
  const { out, problems } = check("edge", { CT_SECRET: "canary ".repeat(8) }, {});
  expect(problems).toEqual([]);
  expect(out).not.toContain("canary");
  expect(out).toMatch(/^CT_PORT +1080$/m);
  for (const role of ["balancer", "worker"] as const) {
    expect(check(role, {}, {}).problems).toEqual([]);
  }
});

test("a key with a passphrase and an unreadable certificate are reported without a start", () => {
  const folder = tempFolder();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const how = { format: "pem", cipher: "aes-256-cbc", passphrase: "canary" } as const;
  const files = { CT_TLS_CERT: join(folder, "cert.pem"), CT_TLS_KEY: join(folder, "key.pem") };
  writeFileSync(files.CT_TLS_KEY, privateKey.export({ type: "pkcs8", ...how }));
  for (const role of ["edge", "balancer"] as const) {
    rmSync(files.CT_TLS_CERT, { force: true });
    expect(check(role, files, {}).problems).toEqual([
      expect.stringMatching(/^CT_TLS_CERT=.*cert\.pem: it cannot be read/),
    ]);
    writeFileSync(files.CT_TLS_CERT, CERTIFICATE);
    expect(check(role, files, {}).problems).toEqual([
      expect.stringMatching(/^CT_TLS_KEY=.*key\.pem: it is protected by a passphrase/),
    ]);
  }
});

test("PROXY headers without addresses they may come from are reported", () => {
  for (const role of ["edge", "balancer"] as const) {
    expect(check(role, { CT_PROXY_PROTOCOL: "on" }, {}).problems).toEqual([
      expect.stringMatching(/^CT_PROXY_PROTOCOL=on .* CT_TRUSTED_PROXIES/),
    ]);
    const trusted = { CT_PROXY_PROTOCOL: "on", CT_TRUSTED_PROXIES: "10.0.0.0/8" };
    expect(check(role, trusted, {}).problems).toEqual([]);
  }
});

test("ct-edge check exits with 1 and a line for each problem, or with 0", async () => {
  const bad = await runCommand(["check", "--port", "x", "--tls-port", "y"]);
  expect(bad.status).toBe(1);
  expect(bad.stderr.trimEnd().split("\n")).toHaveLength(2);
  expect((await runCommand(["check"])).status).toBe(0);
  expect((await runCommand(["check", "--role", "worker"])).stdout).toContain("CT_WORKER_URL");
});

test("ct-edge check reports where receivers of webhooks are, and whether they have a secret", async () => {
  const folder = tempFolder();
  const file = join(folder, "webhooks.yaml");
  writeFileSync(
    file,
    `receivers:
  - { name: inside, url: "https://169.254.169.254/", secrets: ["whsec_${"A".repeat(32)}"] }
  - { name: plain, url: "http://8.8.8.8/", secrets: ["whsec_${"A".repeat(32)}"] }
  - { name: open, url: "https://hooks.example.com/" }
`,
  );
  const env = { CT_WEBHOOKS: file, CT_WEBHOOK_NETWORKS: "10.0.0.0/8" };
  const { status, stderr } = await runCommand(["check"], env);
  expect(status).toBe(1);
  for (const problem of [
    "receiver inside: 169.254.169.254 is not a public address",
    "receiver plain: plain http is not allowed to 8.8.8.8",
    "receiver open: a secret is missing",
  ]) {
    expect(stderr).toContain(problem);
  }
  const wrong = await runCommand(["check"], { CT_WEBHOOK_NETWORKS: "10.0.0.0/99" });
  expect(wrong.stderr).toContain('CT_WEBHOOK_NETWORKS="10.0.0.0/99" is not allowed');
});

test("a folder of the audit log that cannot be written is reported, and a file of an authority that is not there", async () => {
  const folder = tempFolder();
  const file = join(folder, "file");
  writeFileSync(file, "");
  const env = { CT_AUDIT: "on", CT_AUDIT_SYSLOG: "tls://log.example.com" };
  const good = await runCommand(["check", "--audit-dir", join(folder, "a", "b")], env);
  expect(good).toMatchObject({ status: 0, stderr: "" });
  const bad = await runCommand(["check", "--audit-dir", join(file, "audit")], {
    ...env,
    CT_AUDIT_SYSLOG_CA: join(folder, "none.pem"),
  });
  expect(bad.status).toBe(1);
  expect(bad.stderr).toContain(`the audit log cannot be written there: ${file} is not a folder`);
  expect(bad.stderr).toMatch(
    /CT_AUDIT_SYSLOG_CA=.*none.pem: cannot be read \(ENOENT.*; name a readable PEM file/,
  );
  const wrong = await runCommand(["check"], { ...env, CT_AUDIT_SYSLOG: "tcp://log.example.com" });
  expect(wrong.stderr).toContain("use udp://HOST:514 or tls://HOST:6514");
});
