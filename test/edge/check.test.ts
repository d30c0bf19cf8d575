/** `ct-edge check`: all that is wrong, at once. */
import { expect, test } from "vitest";
import { check } from "../../edge/commands/check.ts";
import { runCommand } from "../support/command.ts";

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
    "the licence is not whole: CT_MAXCONNECTIONS, CT_EXPIRATION, CT_SIGNATURE is missing",
  ]) {
    expect(problems.join("\n")).toContain(part);
  }
  expect(out).toContain("! CT_PROT is not a setting");
  expect(problems.join() + out).not.toContain("canary");
});

test("a right secret is not shown either, and nothing is wrong with the defaults", () => {
  const { out, problems } = check("edge", { CT_SECRET: "canary ".repeat(8) }, {});
  expect(problems).toEqual([]);
  expect(out).not.toContain("canary");
  expect(out).toMatch(/^CT_PORT +1080$/m);
  for (const role of ["balancer", "worker"] as const) {
    expect(check(role, {}, {}).problems).toEqual([]);
  }
});

test("the command ends with 1 and a line for each problem, or with 0", async () => {
  const bad = await runCommand(["check", "--port", "x", "--tls-port", "y"]);
  expect(bad.status).toBe(1);
  expect(bad.stderr.trimEnd().split("\n")).toHaveLength(2);
  expect((await runCommand(["check"])).status).toBe(0);
  expect((await runCommand(["check", "--role", "worker"])).stdout).toContain("CT_WORKER_URL");
});
