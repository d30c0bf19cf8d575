import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAddressRules } from "../../../worker/webhooks/receiver-addresses.ts";
import { wants } from "../../../worker/webhooks/receivers.ts";
import {
  parseReceivers,
  ReceiversError,
  readReceivers,
} from "../../../worker/webhooks/receivers-file.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { newSecret } from "../../support/webhook-receiver.ts";

const SECRET = newSecret();
const RULES = parseAddressRules(["10.0.0.0/8"]);

function problemsOf(text: string): readonly string[] {
  try {
    parseReceivers(text, RULES, "/");
    return [];
  } catch (error) {
    if (error instanceof ReceiversError) return error.problems;
    throw error;
  }
}

const receiver = (lines: string): string => `receivers:\n  - name: one\n${lines}`;

test("a file of receivers has their secrets, kinds of events, and whether they get personal data", () => {
  const read = parseReceivers(
    `receivers:
  - name: audit
    url: https://hooks.example.com/edge
    secrets: ["${SECRET}", "${newSecret()}"]
    events: ["session.*", "sign-in.refused"]
    personalData: false
  - { name: chat, url: "http://10.0.0.7:8080/", secrets: ["${SECRET}"] }
`,
    RULES,
    "/",
  );
  expect(read).toMatchObject([
    {
      name: "audit",
      secrets: [{ length: 32 }, { length: 32 }],
      events: ["session.*", "sign-in.refused"],
      hasPersonalData: false,
    },
    { name: "chat", events: undefined, hasPersonalData: true },
  ]);
});

test("secrets and authorities may be in files beside that of the receivers", () => {
  const folder = tempFolder();
  writeFileSync(join(folder, "secret"), `${SECRET}\n\n${newSecret()}\n`);
  writeFileSync(join(folder, "ca.pem"), "PEM");
  const file = join(folder, "webhooks.yaml");
  writeFileSync(
    file,
    receiver("    url: https://example.com\n    secretFile: secret\n    caFile: ca.pem\n"),
  );
  expect(readReceivers(file, RULES)).toMatchObject([
    { secrets: [{ length: 32 }, { length: 32 }], authority: "PEM" },
  ]);
  expect(() => readReceivers(folder, RULES)).toThrow("it is not a file");
  expect(() => readReceivers(join(folder, "none"), RULES)).toThrow("ENOENT");
});

test.each([
  ["", "the file is empty"],
  ["receivers: []", "line 1: receivers: there are no receivers"],
  [receiver("    url: https://example.com\n"), "receiver one: a secret is missing"],
  [
    receiver("    url: https://example.com\n    secrets: [abc]\n"),
    "receiver one: secret 1 must be whsec_",
  ],
  [
    receiver(`    url: https://10.1.1.1\n    secrets: ["${SECRET}"]\n    secretFile: x\n`),
    "not both",
  ],
  [
    receiver(`    url: https://127.0.0.1\n    secrets: ["${SECRET}"]\n`),
    "127.0.0.1 is not a public address",
  ],
  [
    receiver(`    url: http://8.8.8.8\n    secrets: ["${SECRET}"]\n`),
    "plain http is not allowed to 8.8.8.8",
  ],
  [receiver("    url: https://example.com\n    secretFile: /nowhere/at/all\n"), "ENOENT"],
  [
    receiver(
      `    url: https://example.com\n    secrets: ["${SECRET}"]\n    events: [peer.jonied]\n`,
    ),
    'line 5: receiver 1, events.0: "peer.jonied" is none of the kinds',
  ],
  [receiver("    url: https://example.com\n    secret: x\n"), "line 2: receiver 1: "],
  [
    `receivers:\n  - { name: One, url: "https://a.example", secrets: [x] }`,
    "line 2: receiver 1, name: must be 1 to 40",
  ],
  ["a: &x 1\nb: *x\n", "aliases"],
])("the file of receivers %j is refused: %s", (text, problem) => {
  expect(problemsOf(text).join("\n")).toContain(problem);
});

test("two receivers with one name are refused", () => {
  const one = `{ name: a, url: "https://a.example", secrets: ["${SECRET}"] }`;
  expect(problemsOf(`receivers:\n  - ${one}\n  - ${one}\n`)).toEqual([
    "receiver a: another receiver has the same name",
  ]);
});

test("no problem shows a secret", () => {
  const text = receiver(
    `    url: https://127.0.0.1\n    secrets: ["${SECRET}", "${SECRET.slice(0, 20)}"]\n    color: red\n`,
  );
  expect(problemsOf(text).join()).not.toContain(SECRET.slice(6, 20));
});

test("kinds of events are chosen by their name or by their family, and what is lost is always told", () => {
  const some = { events: ["sign-in.*", "peer.joined"] };
  expect(
    ["sign-in", "sign-in.refused", "peer.joined", "events.lost"].every((kind) => wants(some, kind)),
  ).toBe(true);
  expect(
    ["peer.left", "session.created", "operator.sign-in"].some((kind) => wants(some, kind)),
  ).toBe(false);
  expect(wants({ events: ["*"] }, "anything.later")).toBe(true);
});
