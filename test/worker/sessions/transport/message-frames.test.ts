/** Messages as the WebSocket frames that a client gets. */
import { expect, test } from "vitest";
import { DELIVERY_BYTES } from "../../../../shared/resume/frames.ts";
import { MessageFrames } from "../../../../worker/sessions/transport/message-frames.ts";
import { type OutboundMessage, SHARED_BYTES } from "../../../../worker/sessions/wire/outbound.ts";

function message(...sizes: readonly number[]): OutboundMessage {
  const parts = sizes.map((size, index) => Buffer.alloc(size, `${index}`));
  const byteLength = parts.reduce((sum, { length }) => sum + length, 0);
  return { parts, byteLength, own: false, source: { stream: 9, message: 3, isReplayed: false } };
}

/** What `writeTo` makes of them. */
function written(frames: MessageFrames, messages: readonly OutboundMessage[]): Buffer {
  const bytes = messages.reduce((sum, one) => sum + frames.bytesOf(one), 0);
  const buffer = Buffer.alloc(bytes);
  let at = 0;
  for (const one of messages) at = frames.writeTo(buffer, at, one);
  expect(at).toBe(bytes);
  return buffer;
}

const BATCH = [
  message(0),
  message(10, 115),
  message(126),
  message(5, SHARED_BYTES),
  message(SHARED_BYTES, 5),
  message(SHARED_BYTES),
  message(65_535),
  message(1, 65_535),
  message(3),
];

test.each([
  ["with marks", true, "/"],
  ["without marks", false, "/"],
  ["of a namespace", true, "/ünï"],
])(
  "a batch %s has the same bytes whether it is encoded or written into a link",
  (_what, isMarked, namespace) => {
    const frames = new MessageFrames(namespace, isMarked);
    expect(Buffer.concat(frames.encode(BATCH)).equals(written(frames, BATCH))).toBe(true);
  },
);

test("a large last part is passed on as it is, and all others are copied into as few buffers as possible", () => {
  const frames = new MessageFrames("/", true);
  const [small, large] = [message(10, 10), message(5, SHARED_BYTES)];
  const buffers = frames.encode([small, small, large, small, large]);
  expect(buffers).toHaveLength(4);
  expect(buffers[1]).toBe(large.parts[1]);
  expect(buffers[3]).toBe(large.parts[1]);
});

test("each message of a batch is preceded by where it came from and how long it is", () => {
  const frames = new MessageFrames("/", true);
  const bytes = Buffer.concat(frames.encode(BATCH));
  let at = 0;
  for (const one of BATCH) {
    expect(bytes.subarray(at, at + 10).toString("hex")).toBe("830c0000000900000003");
    const length = bytes.readUInt32BE(at + 10);
    expect(length).toBe(frames.bytesOf(one) - DELIVERY_BYTES);
    at += DELIVERY_BYTES + length;
  }
  expect(at).toBe(bytes.length);
});

test("without marks a client gets socket.io's event and its argument", () => {
  const frames = new MessageFrames("/n", false);
  const text = '451-/n,["message",{"_placeholder":true,"num":0}]';
  const expected = Buffer.concat([
    Buffer.from([0x81, text.length]),
    Buffer.from(text),
    Buffer.from([0x82, 3]),
    Buffer.from("000"),
  ]);
  expect(Buffer.concat(frames.encode([message(3)]))).toEqual(expected);
});
