import { once } from "node:events";
import { text as textOf } from "node:stream/consumers";
import { expect, test } from "vitest";
import { WINDOW_BYTES } from "../../shared/link/frames.ts";
import { type LinkStream, MAX_QUEUED_BYTES } from "../../shared/link/stream.ts";
import { LinkSocket } from "../../worker/links/link-socket.ts";
import { createPair, type Recorder, turnEnd } from "../shared/link/memory-wire.ts";
import { until } from "../support/until.ts";

const ENDS = {
  remoteAddress: "192.0.2.1",
  remotePort: 1,
  localAddress: "192.0.2.2",
  localPort: 2,
};

/** A stream whose far end is a socket. */
async function openSocket() {
  const sockets: LinkSocket[] = [];
  const pair = createPair((stream) => {
    sockets.push(new LinkSocket(stream, ENDS));
  });
  const near: Recorder = pair.balancer.open();
  await pair.settle();
  const socket = sockets[0] as LinkSocket;
  const errors: Error[] = [];
  socket.on("error", (error) => errors.push(error));
  return { ...pair, near, socket, errors };
}

test("text of any encoding and bytes arrive as they were written, in order", async () => {
  const { near, socket, settle } = await openSocket();
  socket.write("latin1 \u00ff ", "latin1");
  socket.write("utf8 \u00ff ");
  socket.cork();
  socket.write("6869", "hex");
  socket.write(Buffer.from(" bytes"));
  process.nextTick(() => socket.uncork());
  await settle();
  expect(near.text).toBe("latin1 \u00ff utf8 \u00c3\u00bf hi bytes");
});

test("a socket that nobody reads holds a bounded number of bytes, and delivers all of them", async () => {
  const { near, socket, settle } = await openSocket();
  const sent = "0123456789abcdef".repeat(20_000);
  near.stream.write([sent]);
  await settle();
  expect(socket.readableLength).toBeLessThanOrEqual(socket.readableHighWaterMark + WINDOW_BYTES);
  expect(near.stream.pendingBytes).toBeGreaterThan(sent.length - 3 * WINDOW_BYTES);
  const read = textOf(socket);
  near.stream.end();
  await settle();
  expect(await read).toBe(sent);
});

test("a writer waits while its peer does not read", async () => {
  const { near, socket, settle } = await openSocket();
  near.stream.pause();
  const chunk = Buffer.alloc(50_000, "x");
  let writes = 1;
  while (socket.write(chunk)) writes++;
  expect(writes).toBeLessThan(10);
  near.stream.resume();
  await Promise.all([once(socket, "drain"), settle()]);
  await settle();
  expect(near.text.length).toBe(writes * chunk.length);
});

test("a response that waits for its reader arrives whole when both halves have ended", async () => {
  const { near, socket, settle } = await openSocket();
  socket.resume();
  near.stream.pause();
  near.stream.end();
  await settle();
  const response = "r".repeat(WINDOW_BYTES + 10_000);
  socket.end(response);
  await settle();
  expect(socket.writableFinished).toBe(false);
  near.stream.resume();
  await settle();
  expect(near.text).toBe(response);
  expect(near.events.slice(-2)).toEqual(["end", "close"]);
  expect(socket.writableFinished).toBe(true);
  await until("the socket is closed", () => socket.closed);
});

test("what came before its peer closed it in order can still be read", async () => {
  const { near, socket, settle, errors } = await openSocket();
  near.stream.write(["all of it"]);
  near.stream.destroy();
  await settle();
  expect(await textOf(socket)).toBe("all of it");
  await until("the socket is closed", () => socket.closed);
  expect(errors).toEqual([]);
});

test("a stream that its peer aborts is an error of the socket, as a reset connection is", async () => {
  const { near, socket, settle, errors } = await openSocket();
  socket.resume();
  near.stream.write(["half"]);
  near.stream.reset();
  await settle();
  expect(errors).toMatchObject([{ code: "ECONNRESET" }]);
  expect(socket.destroyed).toBe(true);
});

test("a socket that is destroyed with an error aborts the stream, and without one it closes it", async () => {
  for (const [error, last] of [
    [new Error("broken"), "close the peer has aborted the stream"],
    [undefined, "close"],
  ] as const) {
    const { near, socket, settle } = await openSocket();
    socket.write("some");
    socket.destroy(error);
    await settle();
    expect(near.text).toBe("some");
    expect(near.events.at(-1)).toBe(last);
  }
});

test("bytes can be put straight into the link when all earlier ones have left", async () => {
  const { near, socket, settle } = await openSocket();
  const put = (bytes: string): boolean => {
    const at = socket.reserve(bytes.length);
    if (at >= 0) socket.out.write(bytes, at, "latin1");
    return at >= 0;
  };
  socket.write("first ");
  expect(put("second ")).toBe(true);
  socket.cork();
  socket.write("third");
  expect(put("not before the third")).toBe(false);
  socket.uncork();
  await settle();
  expect(near.text).toBe("first second third");
  socket.end();
  expect(put("after the end")).toBe(false);
});

test("clients that do not read share a large content, of which each has a small part copied", async () => {
  const sockets: LinkSocket[] = [];
  const streams: LinkStream[] = [];
  const { balancer, settle } = createPair((stream) => {
    streams.push(stream);
    sockets.push(new LinkSocket(stream, ENDS));
  });
  const clients = Array.from({ length: 3 }, () => balancer.open());
  for (const { stream } of clients) stream.pause();
  await settle();
  const content = Buffer.alloc(20 * MAX_QUEUED_BYTES, "content;");
  for (const socket of sockets) {
    socket.cork();
    socket.write("header;");
    socket.write(content);
    socket.uncork();
  }
  await settle();
  for (const { pendingBytes } of streams) {
    expect(pendingBytes).toBeGreaterThan(0);
    expect(pendingBytes).toBeLessThan(2 * MAX_QUEUED_BYTES);
  }
  for (const { stream } of clients) stream.resume();
  await settle();
  for (const { text } of clients) expect(text).toBe(`header;${String(content)}`);
});

test("a write that waits for its reader fails when the socket is destroyed", async () => {
  const { near, socket, settle } = await openSocket();
  near.stream.pause();
  const written = new Promise((resolve) => {
    socket.write(Buffer.alloc(4 * WINDOW_BYTES), resolve);
  });
  await settle();
  socket.destroy();
  expect(await written).toBeInstanceOf(Error);
});

test("a reader that pauses at every read gets all bytes", async () => {
  const { near, socket, settle } = await openSocket();
  let received = 0;
  socket.on("data", ({ length }: Buffer) => {
    received += length;
    socket.pause();
    setImmediate(() => socket.resume());
  });
  let sent = 0;
  for (let count = 0; count < 200; count++) {
    const bytes = Buffer.alloc(1 + ((count * 7919) % 40_000));
    sent += bytes.length;
    near.stream.write([bytes]);
    if (count % 3 === 0) await turnEnd();
  }
  await until("all have come", async () => {
    await settle();
    return received >= sent;
  });
  expect(received).toBe(sent);
});
