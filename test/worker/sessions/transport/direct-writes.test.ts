/** Messages of a connection whose WebSocket is a stream of a link: written straight into it while nothing waits. */
import { expect, test } from "vitest";
import type { OutboundMessage } from "../../../../worker/sessions/wire/outbound.ts";
import { connect } from "./linked-connection.ts";

/** A text frame with the packet at which clients close the connection. */
const MIGRATE = "\x81\x019";

function message(...parts: Buffer[]): OutboundMessage {
  return { parts, byteLength: parts.reduce((sum, { length }) => sum + length, 0), own: false };
}

const small = (text: string): OutboundMessage =>
  message(Buffer.from(`${text},`), Buffer.from("end of it"));

test("messages that are written at once and those that wait arrive in order", async () => {
  const { connection, client, has } = await connect();
  connection.send(small("first"));
  await has("first");
  connection.send(message(Buffer.alloc(100_000, "large")));
  connection.send(small("second"));
  await has("second,end of it");
  connection.send(small("third"));
  await has("third,end of it");
  expect(client.text).toMatch(/first[\s\S]*large[\s\S]*second[\s\S]*third/);
});

test("a client whose last messages waited for the fence gets them, and is then asked to migrate", async () => {
  const { connection, client, fence, settle, has } = await connect();
  fence.state = "undecided";
  connection.send(small("last"));
  connection.migrate();
  await settle();
  expect(client.text).not.toContain("last");
  expect(client.text).not.toContain(MIGRATE);
  fence.open();
  await has(MIGRATE);
  expect(client.text.endsWith(`last,end of it${MIGRATE}`)).toBe(true);
});

test("small messages to a client that does not read do not keep the reads alive that brought them", async () => {
  const { connection, client, unsent, settle } = await connect();
  client.stream.pause();
  connection.send(message(Buffer.alloc(1024 * 1024)));
  await settle();
  const reads = Array.from({ length: 10 }, (_, index) => Buffer.alloc(65_536, `${index}`));
  for (const read of reads) connection.send(message(read.subarray(0, 10), read.subarray(50, 60)));
  await settle();
  connection.close();
  expect(unsent).toHaveLength(reads.length);
  for (const [index, { parts }] of unsent.entries()) {
    expect(String(Buffer.concat(parts))).toBe(`${index}`.repeat(20));
    for (const { buffer } of parts) expect(reads.map((read) => read.buffer)).not.toContain(buffer);
  }
});
