/** The examples of docs/operators/webhooks.md work as they are there. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { EVENT_KINDS } from "../../../shared/activity/event.ts";
import { parseAddressRules } from "../../../worker/webhooks/receiver-addresses.ts";
import { parseReceivers } from "../../../worker/webhooks/receivers-file.ts";
import { parseSecret, signedHeaders } from "../../../worker/webhooks/signature.ts";
import { hasProgram } from "../../support/debian.ts";
import { newSecret } from "../../support/webhook-receiver.ts";

const page = readFileSync(new URL("../../../docs/operators/webhooks.md", import.meta.url), "utf8");

function example(language: string): string {
  const found = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(page)?.[1];
  if (found === undefined) throw new Error(`the page has no example in ${language}`);
  return found;
}

const SECRET = newSecret();
const BODY = '{"id":"event-1","name":"Ä"}';

function delivery(secret: string): Record<string, string> {
  const key = parseSecret(secret);
  if (key === undefined) throw new Error("not a secret");
  const atSeconds = Math.floor(Date.now() / 1000);
  return signedHeaders({ id: "event-1", body: BODY, atSeconds }, [Buffer.alloc(32), key]);
}

/** A genuine delivery; another body; another secret; an old one. */
const CASES: readonly (readonly [Record<string, string>, string])[] = [
  [delivery(SECRET), BODY],
  [delivery(SECRET), `${BODY} `],
  [delivery(newSecret()), BODY],
  [{ ...delivery(SECRET), "webhook-timestamp": "1700000000" }, BODY],
];
const EXPECTED = [true, false, false, false];

test("the check of a signature in Node accepts what is genuine, and nothing else", async () => {
  const source = `data:text/javascript,${encodeURIComponent(example("js"))}`;
  const { isGenuine } = await import(source);
  const results = CASES.map(([headers, body]) => isGenuine(headers, Buffer.from(body), SECRET));
  expect(results).toEqual(EXPECTED);
});

const hasPython = hasProgram("python3", ["python3-minimal"], "the example of a receiver in Python");

test.runIf(hasPython)(
  "the check of a signature in Python accepts what is genuine, and nothing else",
  () => {
    const input = JSON.stringify({ cases: CASES, secret: SECRET });
    const run = `${example("python")}
import json, sys
given = json.load(sys.stdin)
print(json.dumps([is_genuine(h, b.encode(), given["secret"]) for h, b in given["cases"]]))`;
    const { stdout, stderr } = spawnSync("python3", ["-c", run], { input, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual(EXPECTED);
  },
);

test("the documented file of receivers is valid, and every kind of event is described", () => {
  const text = example("yaml").replace(/secretFile: .*/, `secrets: [${SECRET}]`);
  expect(parseReceivers(text, parseAddressRules([]), "/")).toHaveLength(2);
  expect(EVENT_KINDS.filter((kind) => !page.includes(`\`${kind}\``))).toEqual([]);
});
