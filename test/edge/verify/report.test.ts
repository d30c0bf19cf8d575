/** How `ct-edge verify` prints its findings, its exit status, and the sections of the documents that it names. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { CHECK_IDS, linkOf } from "../../../edge/verify/model/checks.ts";
import { broken, held, unknown, type Verdicts } from "../../../edge/verify/model/finding.ts";
import { type Report, reportText, statusOf, verifyAnswer } from "../../../edge/verify/report.ts";
import { escapeJson } from "../../../shared/logs/escape.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** As GitHub makes anchors of headings. */
function anchorsOf(page: string): Set<string> {
  const headings = readFileSync(`${root}${page}`, "utf8").matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, text = ""]) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

test("each check links to a section that exists", () => {
  for (const id of CHECK_IDS) {
    const [page = "", anchor = ""] = linkOf(id).split("#");
    expect(anchorsOf(page), id).toContain(anchor);
  }
});

test("links within the page lead to sections that exist", () => {
  const page = "docs/operators/verify.md";
  const text = readFileSync(`${root}${page}`, "utf8");
  const anchors = anchorsOf(page);
  for (const [, anchor = ""] of text.matchAll(/\]\(#([^)]+)\)/g)) expect(anchors).toContain(anchor);
});

function report(verdicts: Verdicts, more: Partial<Report> = {}): Report {
  return {
    url: "https://edge.example.com",
    tookMs: 30_250,
    findings: CHECK_IDS.flatMap((id) => (verdicts[id] ? [{ id, ...verdicts[id] }] : [])),
    wasInterrupted: false,
    leftBehind: 0,
    ...more,
  };
}

test("a report has the table first, then what to do: broken, unknown, warnings", () => {
  const text = reportText(
    report({
      ring: unknown("it is not visible from outside", "give --redis"),
      secret: unknown("it is not visible from outside", "give --redis"),
      edge: held("it speaks protocol 0.3.1"),
      websocket: broken("an upgrade gets status 400", "let upgrades pass"),
      clock: held("compared", "the edge's clock is 99 s ahead"),
    }),
  );
  expect(text).toBe(
    `STATE    PROMISE                        SEEN
held     an edge responds at the URL    it speaks protocol 0.3.1
held !   its clock is right             compared
broken   WebSockets pass                an upgrade gets status 400
unknown  all processes have one secret  it is not visible from outside
unknown  all processes have one ring    it is not visible from outside

BROKEN: WebSockets pass
  an upgrade gets status 400
  cure: let upgrades pass
  see:  docs/operators/verify.md#websockets

UNKNOWN: all processes have one secret; all processes have one ring
  it is not visible from outside
  cure: give --redis
  see:  docs/operators/verify.md#one-secret

WARNING: its clock is right
  the edge's clock is 99 s ahead
  see:  docs/operators/verify.md#clock

https://edge.example.com: 2 held, 1 broken, 2 unknown, in 30.3 s
`,
  );
});

test("an interruption and what could not be removed are told", () => {
  const text = reportText(report({}, { wasInterrupted: true, leftBehind: 1 }));
  expect(text).toContain("! Interrupted: what was not seen is unknown.\n");
  expect(text).toContain("! Not removed: 1 sessions or sign-ins;");
});

test("text of a server is escaped, in the table, in the cure and in JSON", () => {
  const hostile = "\u001b]0;x\u0007\r\n\u202e";
  const verdicts = { edge: broken(hostile, hostile) };
  for (const text of [reportText(report(verdicts)), escapeJson(verifyAnswer(report(verdicts)))]) {
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  }
});

test("JSON has each finding with its promise and its link", () => {
  const parsed: unknown = JSON.parse(escapeJson(verifyAnswer(report({ edge: held("a") }))));
  expect(parsed).toEqual({
    url: "https://edge.example.com",
    tookMs: 30_250,
    held: 1,
    broken: 0,
    unknown: 0,
    interrupted: false,
    leftBehind: 0,
    findings: [
      {
        id: "edge",
        promise: "an edge responds at the URL",
        state: "held",
        cause: "a",
        cure: "",
        link: "docs/operators/verify.md#no-edge",
      },
    ],
  });
});

test("the exit status is 0 when nothing is broken, 1 when something is, 2 when there is no edge", () => {
  const edge = held("");
  const ring = unknown("", "");
  const statusFor = (verdicts: Verdicts, more: Partial<Report> = {}, isStrict = false) =>
    statusOf(report(verdicts, more), isStrict);
  expect(statusFor({ edge })).toBe(0);
  expect(statusFor({ edge, ring })).toBe(0);
  expect(statusFor({ edge, ring }, {}, true)).toBe(2);
  expect(statusFor({ edge, idle: broken("", "") }, {}, true)).toBe(1);
  expect(statusFor({ edge: broken("", "") })).toBe(2);
  expect(statusFor({ edge: unknown("", "") })).toBe(2);
  expect(statusFor({ edge }, { wasInterrupted: true })).toBe(2);
});
