/** What is written to a client's WebSocket, over a stream of a link and over a plain one. */
import { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { LinkSocket } from "../../../../worker/links/link-socket.ts";
import { MessageFrames } from "../../../../worker/sessions/transport/message-frames.ts";
import { StreamOutput } from "../../../../worker/sessions/transport/stream-output.ts";
import type { OutboundMessage } from "../../../../worker/sessions/wire/outbound.ts";
import { createRandom } from "../../../fuzz/random.ts";
import { createPair } from "../../../shared/link/memory-wire.ts";

const FRAMES = new MessageFrames("/", true);
const FRAME = Buffer.from([0x81, 1, 0x78]);

function message(bytes: number, fill = "m"): OutboundMessage {
  return { parts: [Buffer.alloc(bytes, fill)], byteLength: bytes, own: false };
}

const encoded = (...messages: readonly OutboundMessage[]): string =>
  Buffer.concat(FRAMES.encode(messages)).toString("latin1");

/** An output over a stream of a link. */
async function openOnLink() {
  const sockets: LinkSocket[] = [];
  const pair = createPair((stream) => void sockets.push(new LinkSocket(stream, {})));
  const client = pair.balancer.open();
  await pair.settle();
  const socket = sockets[0] as LinkSocket;
  socket.on("error", () => {});
  let written = 0;
  const output = new StreamOutput(socket, FRAMES, () => written++);
  return { ...pair, client, socket, output, written: () => written };
}

/** A stream that takes one write, and no more before the test has taken it. */
class SlowStream extends Duplex {
  taken: Buffer = Buffer.alloc(0);
  #callback: (() => void) | undefined;

  override _read(): void {}

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.taken = Buffer.concat([this.taken, ...chunks.map(({ chunk }) => chunk)]);
    this.#callback = callback;
  }

  goOn(): void {
    const callback = this.#callback;
    this.#callback = undefined;
    callback?.();
  }
}

test("messages that fit into the link leave at once, and nothing is pending then", async () => {
  const { output, client, settle } = await openOnLink();
  const batch = [message(10), message(16_000), message(3000), message(0)];
  output.write(batch);
  expect(output).toMatchObject({ pendingBytes: 0, isStuck: false });
  await settle();
  expect(client.text).toBe(encoded(...batch));
});

test("messages and frames of any sizes arrive in the order in which they were given, however slowly the client reads", async () => {
  const random = createRandom(7, 1);
  for (let run = 0; run < 20; run++) {
    const { output, client, settle, written } = await openOnLink();
    let expected = "";
    for (let step = 0; step < 40; step++) {
      if (random.chance(0.2)) client.stream.pause();
      if (random.chance(0.3)) client.stream.resume();
      if (random.chance(0.3)) await settle();
      // Only where no message waits does a frame stand behind all of them.
      if (random.chance(0.3) && output.pendingBytes === 0) {
        output.writeFrame(FRAME);
        expected += FRAME.toString("latin1");
      } else {
        const batch = Array.from({ length: 1 + random.below(4) }, () =>
          message(random.pick([0, 5, 1000, 16_384, 40_000, 100_000]), String(step % 10)),
        );
        output.write(batch);
        expected += encoded(...batch);
      }
    }
    client.stream.resume();
    await settle();
    expect(client.text === expected).toBe(true);
    expect(output).toMatchObject({ pendingBytes: 0, isStuck: false });
    expect(written()).toBeGreaterThan(0);
  }
});

test("a frame stands behind the messages that the socket has, and before those that still wait", async () => {
  const stream = new SlowStream();
  const output = new StreamOutput(stream, FRAMES, () => {});
  const [first, second] = [message(65_536, "1"), message(10, "2")];
  output.write([first, second]);
  output.writeFrame(FRAME);
  for (let count = 0; count < 5; count++) stream.goOn();
  expect(stream.taken.toString("latin1")).toBe(
    encoded(first) + FRAME.toString("latin1") + encoded(second),
  );
});

test("what the socket was not given is taken back, in whole messages and in order", () => {
  const stream = new SlowStream();
  const output = new StreamOutput(stream, FRAMES, () => {});
  const batch = Array.from({ length: 10 }, (_, index) => message(20_000, `${index}`));
  output.write(batch);
  expect(output).toMatchObject({ isStuck: true, pendingBytes: 200_000 });
  const waiting = output.takeWaiting();
  const given = batch.length - waiting.length;
  expect(given).toBeGreaterThan(0);
  expect(given * 20_000).toBeLessThanOrEqual(65_536);
  expect(waiting).toEqual(batch.slice(given));
  expect(output.pendingBytes).toBe(given * 20_000);
  for (let count = 0; count < 5; count++) stream.goOn();
  expect(stream.taken.toString("latin1")).toBe(encoded(...batch.slice(0, given)));
  expect(output).toMatchObject({ isStuck: false, pendingBytes: 0 });
});

test("a message larger than what is given at a time is given alone", () => {
  const stream = new SlowStream();
  const output = new StreamOutput(stream, FRAMES, () => {});
  const batch = [message(10, "1"), message(200_000, "2"), message(10, "3")];
  output.write(batch);
  const sizes: number[] = [];
  for (let taken = 0; taken < stream.taken.length; stream.goOn()) {
    sizes.push(stream.taken.length - taken);
    taken = stream.taken.length;
  }
  expect(stream.taken.toString("latin1")).toBe(encoded(...batch));
  expect(output.pendingBytes).toBe(0);
  expect(sizes[0]).toBe(FRAMES.bytesOf(message(10)));
});

test("the owner of an output hears of it when all that the socket had has left", () => {
  const stream = new SlowStream();
  let written = 0;
  const output = new StreamOutput(stream, FRAMES, () => written++);
  output.write([message(10)]);
  expect(written).toBe(0);
  stream.goOn();
  expect(written).toBe(1);
});
