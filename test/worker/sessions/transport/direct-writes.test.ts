/** Messages of a connection whose WebSocket is a stream of a link: written straight into it while nothing waits. */
import { createServer } from "node:http";
import { Server } from "socket.io";
import { expect, onTestFinished, test } from "vitest";
import { LinkSocket } from "../../../../worker/links/link-socket.ts";
import type { FenceState, HeldWork } from "../../../../worker/sessions/fence.ts";
import { SocketConnection } from "../../../../worker/sessions/transport/connection.ts";
import { FanOut } from "../../../../worker/sessions/transport/fan-out.ts";
import type { OutboundMessage } from "../../../../worker/sessions/wire/outbound.ts";
import { upgrade } from "../../../conformance/case.ts";
import { createPair } from "../../../shared/link/memory-wire.ts";
import { until } from "../../../support/until.ts";

/** A fence whose state the test sets. */
function createFence() {
  const held: HeldWork[] = [];
  const fence = {
    state: "open" as FenceState,
    look: () => fence.state,
    hold: (work: HeldWork) => void held.push(work),
    open() {
      fence.state = "open";
      for (const { run } of held.splice(0)) run();
    },
  };
  return fence;
}

/** A client of socket.io, byte by byte, over a link. */
async function connect() {
  const server = createServer();
  const io = new Server(server, { transports: ["websocket"], serveClient: false });
  onTestFinished(() => io.close());
  const pair = createPair((stream) => {
    server.emit("connection", new LinkSocket(stream, {}));
  });
  const client = pair.balancer.open();
  const fence = createFence();
  const unsent: OutboundMessage[] = [];
  let connection: SocketConnection | undefined;
  io.on("connection", (socket) => {
    connection = new SocketConnection(socket, 1, new FanOut(fence));
    connection.open({
      message() {},
      drained() {},
      closed: (messages) => void unsent.push(...messages),
    });
  });
  // In each turn, because the server needs some of them.
  const has = (text: string): Promise<boolean> =>
    until(`the client gets ${text}`, async () => {
      await pair.settle();
      return client.text.includes(text);
    });
  client.stream.write([upgrade().replace(" / ", " /socket.io/?EIO=4&transport=websocket ")]);
  await has('0{"sid"');
  client.stream.write([CONNECT]);
  await has('40{"sid"');
  await until("it is connected", () => connection !== undefined);
  return {
    ...pair,
    client,
    fence,
    unsent,
    has,
    connection: connection as unknown as SocketConnection,
  };
}

/** A masked text frame with socket.io's packet CONNECT; the mask is zero. */
const CONNECT = Buffer.from([0x81, 0x82, 0, 0, 0, 0, ...Buffer.from("40")]);
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
