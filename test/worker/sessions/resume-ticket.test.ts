/** Tickets with which WebSockets are resumed: only those that a worker of the edge has made are read. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { PeerId, SessionId } from "../../../shared/base/ids.ts";
import { MAX_STREAM_NUMBER, MAX_TICKET_BYTES } from "../../../shared/resume/frames.ts";
import { sign } from "../../../shared/settings/secret.ts";
import {
  type ResumeTicket,
  readResumeTicket,
  signResumeTicket,
} from "../../../worker/sessions/resume-ticket.ts";

const KEY = Buffer.alloc(32, 1);
const OTHER_KEY = Buffer.alloc(32, 2);
const TICKET: ResumeTicket = {
  sessionId: "S".repeat(24) as SessionId,
  epoch: 7,
  peerId: "peer-1" as PeerId,
  tokenId: "token-1",
  namespace: "/some namespace, ünïcode",
  stream: MAX_STREAM_NUMBER,
};
const signed = signResumeTicket(KEY, TICKET);

/** A value with a valid proof. */
function proven(text: string): string {
  const encoded = Buffer.from(text).toString("base64url");
  return `${encoded}.${sign(KEY, `resume\n${encoded}`)}`;
}

const FIELDS = Object.values(TICKET);
const withField = (index: number, value: unknown): string =>
  proven(JSON.stringify(FIELDS.with(index, value as never)));

test("a worker reads the ticket of another worker with the same key", () => {
  expect(readResumeTicket([KEY], signed)).toEqual(TICKET);
  expect(signed.length).toBeLessThan(MAX_TICKET_BYTES);
  // It is sent in a header.
  expect(signed).toMatch(/^[A-Za-z0-9._-]+$/);
});

test("a ticket of another key is not read", () => {
  expect(readResumeTicket([OTHER_KEY], signed)).toBeUndefined();
});

test("a ticket without an end, or with a change of any one character, is not read", () => {
  for (let length = 0; length < signed.length; length++) {
    expect(readResumeTicket([KEY], signed.slice(0, length))).toBeUndefined();
  }
  fc.assert(
    fc.property(
      fc.nat(signed.length - 1),
      fc.constantFrom("A", "a", "0", "-", "_", ".", "=", " ", "\n"),
      (at, other) => {
        fc.pre(signed[at] !== other);
        const changed = signed.slice(0, at) + other + signed.slice(at + 1);
        expect(readResumeTicket([KEY], changed)).toBeUndefined();
      },
    ),
  );
});

test.each([
  ["undefined", undefined],
  ["a list", [signed]],
  ["an empty value", ""],
  ["a dot", "."],
  ["two tickets", `${signed}, ${signed}`],
  [
    "more than the longest ticket has",
    proven(JSON.stringify(FIELDS.with(4, "n".repeat(1024))).padEnd(3000)),
  ],
  ["no JSON", proven("not JSON")],
  ["an empty text", proven("")],
  ["an object", proven(JSON.stringify(TICKET))],
  ["a field too few", proven(JSON.stringify(FIELDS.slice(0, -1)))],
  ["a field too many", proven(JSON.stringify([...FIELDS, 1]))],
  ["a malformed session", withField(0, "not a session id")],
  ["a negative epoch", withField(1, -1)],
  ["an epoch that is a text", withField(1, "7")],
  ["a fraction as epoch", withField(1, 1.5)],
  ["a peer that is a number", withField(2, 1)],
  ["a peer with a long name", withField(2, "p".repeat(129))],
  ["a token that is null", withField(3, null)],
  ["a long namespace", withField(4, "n".repeat(1025))],
  ["stream 0, which is none", withField(5, 0)],
  ["a stream beyond 31 bits", withField(5, MAX_STREAM_NUMBER + 1)],
])("%s is no ticket, even with a valid proof", (_what, value) => {
  expect(readResumeTicket([KEY], value)).toBeUndefined();
});

test("no text is read as a ticket, and none throws", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      expect(readResumeTicket([KEY], text)).toBeUndefined();
      expect(readResumeTicket([KEY], proven(text))).toBeUndefined();
    }),
  );
});
