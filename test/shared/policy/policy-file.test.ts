/** The policy in force, while its file is edited, broken, replaced, and gone. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { createLog } from "../../../shared/logs/log.ts";
import { openPolicyFile } from "../../../shared/policy/policy-file.ts";
import { SettingError } from "../../../shared/settings/read-settings.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

let folder: string;
let path: string;
let lines: string[];
let changes: string[];

beforeEach(() => {
  folder = tempFolder();
  path = join(folder, "policy.yaml");
  lines = [];
  changes = [];
});

function policyOf(reason: string): string {
  return `{version: 1, otherwise: {host: deny, join: deny}, rules: [{name: a, host: deny, reason: "${reason}"}]}`;
}

function open() {
  const sink = { write: (line: string) => void lines.push(line) };
  const log = createLog({ name: "test", level: "info", format: "text", sink });
  const file = openPolicyFile({
    path,
    keptPath: join(folder, "data", "kept"),
    clock: systemClock,
    log,
    onProblem: () => {},
    onChange: ({ when }) => changes.push(when),
  });
  onTestFinished(() => file.close());
  return {
    ...file,
    state: () => file.state,
    reason: () => {
      const decision = file.current.decider.mayHost({ id: "u", isVerified: true });
      return decision.outcome === "denied" ? decision.reason : "";
    },
  };
}

test("an edit of the policy comes in force, and one with mistakes does not", async () => {
  writeFileSync(path, policyOf("one"));
  const { reason, state } = open();
  expect(reason()).toBe("one");
  writeFileSync(path, policyOf("two"));
  await until("the edit is in force", () => reason() === "two");
  expect(changes).toEqual(["start", "edit"]);
  writeFileSync(path, "version: 1");
  await until("the mistake is known", () => state().problem !== undefined);
  expect(state().problem).toMatch(/^line 1: rules: /);
  expect(reason()).toBe("two");
  expect(lines.join("")).toContain("the last good policy stays in force");
  writeFileSync(path, policyOf("two"));
  await until("the mistake is gone", () => state().problem === undefined);
  expect(changes).toEqual(["start", "edit"]);
});

test("a policy that was edited while the process was off is told at its start, and no other", async () => {
  writeFileSync(path, policyOf("one"));
  open();
  open();
  expect(changes).toEqual(["start"]);
  writeFileSync(path, policyOf("two"));
  open();
  expect(changes).toEqual(["start", "start"]);
});

test("a file that is replaced, as editors and Kubernetes do, comes in force", async () => {
  writeFileSync(path, policyOf("one"));
  const { reason } = open();
  writeFileSync(`${path}.new`, policyOf("two"));
  renameSync(`${path}.new`, path);
  await until("the new file is in force", () => reason() === "two");
});

test("a policy file that is gone, is a folder, or is far too large changes nothing", async () => {
  writeFileSync(path, policyOf("one"));
  const { reason, state } = open();
  rmSync(path);
  await until("it is missed", () => state().problem?.includes("ENOENT") === true);
  mkdirSync(path);
  await until("it cannot be read", () => state().problem?.includes("not a file") === true);
  rmSync(path, { recursive: true });
  writeFileSync(path, "#".repeat(10 * 1024 * 1024));
  await until("it is too large", () => state().problem?.includes("larger than") === true);
  expect(reason()).toBe("one");
  writeFileSync(path, policyOf("three"));
  await until("it is there again", () => reason() === "three");
});

test("a start with mistakes takes the last good policy, or fails", () => {
  writeFileSync(path, "otherwise: 1");
  expect(() => open()).toThrow(SettingError);
  expect(() => open()).toThrow(/^CT_POLICY=".*" has mistakes: line 1: .*; correct them, or unset/);
  writeFileSync(path, policyOf("good"));
  open();
  expect(readFileSync(join(folder, "data", "kept"), "utf8")).toBe(policyOf("good"));
  writeFileSync(path, "otherwise: 1");
  const { reason, state } = open();
  expect(reason()).toBe("good");
  expect(state().problem).toMatch(/^line 1: /);
});

test("a copy that cannot be written is no reason not to start", () => {
  writeFileSync(path, policyOf("one"));
  writeFileSync(join(folder, "data"), "a file where a folder is needed");
  expect(open().reason()).toBe("one");
  expect(lines.join("")).toContain("the policy could not be copied");
});
