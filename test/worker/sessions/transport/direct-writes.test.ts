/** Messages of a connection whose WebSocket is a stream of a link: written straight into it while nothing waits. */
import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { WebSocketServer } from "ws";
import { systemClock as clock } from "../../../../shared/base/clock.ts";
import { createCounters } from "../../../../shared/metrics/metrics.ts";
import { LinkSocket } from "../../../../worker/links/link-socket.ts";
import type { FenceState, HeldWork } from "../../../../worker/sessions/fence.ts";
import { FanOut } from "../../../../worker/sessions/transport/fan-out.ts";
import { InputLimit } from "../../../../worker/sessions/transport/input-limit.ts";
import { PacketReader } from "../../../../worker/sessions/transport/packet-reader.ts";
import { StreamConnection } from "../../../../worker/sessions/transport/stream-connection.ts";
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

/** A client, byte by byte, over a link. */
async function connect() {
  const server = createServer();
  const webSockets = new WebSocketServer({ noServer: true, clientTracking: false });
  onTestFinished(() => webSockets.close());
  const pair = createPair((stream) => {
    server.emit("connection", new LinkSocket(stream, {}));
  });
  const client = pair.balancer.open();
  const fence = createFence();
  const unsent: OutboundMessage[] = [];
  let connection: StreamConnection | undefined;
  server.on("upgrade", (req, stream, head) => {
    webSockets.handleUpgrade(req, stream, head, (webSocket) => {
      connection = new StreamConnection({
        webSocket,
        stream,
        namespace: "/",
        ordinal: 1,
        input: new InputLimit({ clock, counters: createCounters(), maxMessagesPerSecond: 1000 }),
        reader: new PacketReader("/"),
        fanOut: new FanOut(fence),
        clock,
        counters: createCounters(),
        begun: { stream: 1, messages: 0, confirmed: 0, repeated: 0 },
        ticketFor: undefined,
      });
      connection.open({
        message() {},
        received() {},
        drained() {},
        closed: (messages) => void unsent.push(...messages),
      });
    });
  });
  // In each turn, because the server needs some of them.
  const has = (text: string): Promise<boolean> =>
    until(`the client gets ${text}`, async () => {
      await pair.settle();
      return client.text.includes(text);
    });
  client.stream.write([upgrade()]);
  await has("101 Switching Protocols");
  return {
    ...pair,
    client,
    fence,
    unsent,
    has,
    connection: connection as unknown as StreamConnection,
  };
}

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
