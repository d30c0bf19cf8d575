import { describe, expect, test } from "vitest";
import { createLog, type Log } from "../../../shared/logs/log.ts";

function logTo(lines: string[], format: "text" | "json" = "text"): Log {
  const sink = { write: (line: string) => lines.push(line) };
  return createLog({ name: "worker-1", level: "info", format, sink });
}

function textLine(fields: object, sentence: string): string {
  const lines: string[] = [];
  logTo(lines).info(fields, sentence);
  return lines.join("").replace(/^\S+ /, "");
}

describe("a text log line", () => {
  test("a text log line has the time, the process, the level, the message and the fields", () => {
    const lines: string[] = [];
    logTo(lines).warn({ workerId: "w1", lagMs: 3 }, "lease lost");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z worker-1 WARN lease lost workerId=w1 lagMs=3\n$/,
    );
  });

  test("a text log line cannot be forged with line feeds, terminal sequences or Unicode's line separators", () => {
    const hostile = "x\r\n2026 root INFO fine\u001b[2J\u2028\u2029\u0085";
    expect(textLine({ hostile }, hostile)).not.toMatch(/[\p{Cc}\u2028\u2029](?!$)/u);
  });

  test("a text log line has long fields cut", () => {
    expect(textLine({ name: "x".repeat(1_000_000) }, "long").length).toBeLessThan(1100);
  });
});

describe("a JSON log line", () => {
  test("a JSON log line is one object", () => {
    const lines: string[] = [];
    logTo(lines, "json").info({ text: "a\nb\u2028" }, "said");
    expect(lines).toHaveLength(1);
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\n\u2028]/);
    const parsed = JSON.parse(String(lines[0])) as unknown;
    expect(parsed).toMatchObject({ level: "info", process: "worker-1", text: "a\nb\u2028" });
  });

  test("a JSON log line has long fields cut after secrets were masked", () => {
    const lines: string[] = [];
    const headers = { cookie: "canary-4711", filler: "x".repeat(1_000_000) };
    logTo(lines, "json").info({ headers, short: 1 }, "long");
    expect(lines[0]?.length).toBeLessThan(1400);
    expect(lines[0]).not.toContain("canary");
    expect(JSON.parse(String(lines[0]))).toMatchObject({ short: 1, msg: "long" });
  });
});

test.each([
  "authorization",
  "cookie",
  "ctstickiness",
  "x-oct-jwt",
  "secret",
  "roomToken",
  "apiKey",
])("a field named %s is masked, also inside of another", (name) => {
  const canary = "canary-4711";
  const line = textLine({ [name]: canary, headers: { [name]: canary } }, "request");
  expect(line).not.toContain(canary);
  expect(line).toContain("(masked)");
});

test("an error with a code is logged without a stack, an unexpected one with it", () => {
  const known = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  expect(textLine({ err: known }, "x")).not.toContain("stack");
  expect(textLine({ err: new TypeError("bug") }, "x")).toContain("stack");
});
