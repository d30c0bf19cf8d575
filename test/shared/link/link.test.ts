import { expect, test } from "vitest";
import { CONTROL, RESET, WINDOW_BYTES } from "../../../shared/link/frames.ts";
import { MAX_STREAMS } from "../../../shared/link/link.ts";
import { MAX_QUEUED_BYTES } from "../../../shared/link/stream.ts";
import { credit, data, expectedReading, fin, framesIn, open, reset } from "./frame-bytes.ts";
import { createEnd, createPair, drain, type End, type Recorder, turnEnd } from "./memory-wire.ts";

const ABORTED = "close the peer has aborted the stream";

/** A pair with one open stream, at both ends. */
async function pairWithStream() {
  const pair = createPair();
  const near = pair.balancer.open();
  await pair.settle();
  const far = pair.worker.accepted[0] as Recorder;
  return { ...pair, near, far };
}

function text(length: number): Buffer {
  return Buffer.from(
    Array.from({ length }, (_, index) => String.fromCharCode(97 + (index % 26))).join(""),
  );
}

/** The kinds of the frames that an end has sent on a stream. */
function kindsSent(end: End, stream: number): string[] {
  const frames = framesIn(Buffer.concat([end.wire.sent, end.wire.take(Number.POSITIVE_INFINITY)]));
  return frames.filter((frame) => frame.stream === stream).map(({ kind }) => kind);
}

// --- the life of a stream ---

test("bytes of both directions arrive in order, with any size of reads", async () => {
  for (const readBytes of [1, 7, 1000, Number.POSITIVE_INFINITY]) {
    const { balancer, worker, settle, near, far } = await pairWithStream();
    balancer.wire.readBytes = readBytes;
    worker.wire.readBytes = readBytes;
    for (const part of ["GET ", "/", " HTTP/1.1"]) near.stream.write([part]);
    far.stream.write([Buffer.from("HTTP/"), "1.1"]);
    await settle();
    expect(far.text).toBe("GET / HTTP/1.1");
    expect(near.text).toBe("HTTP/1.1");
  }
});

test("all frames of one turn leave in one write, and one read is delivered to a stream at once", async () => {
  const { balancer, settle, near, far, worker } = await pairWithStream();
  const writesBefore = balancer.wire.writes.length;
  const other = balancer.open();
  for (const part of ["a", "b", "c"]) {
    near.stream.write([part]);
    other.stream.write([part.toUpperCase()]);
  }
  await settle();
  expect(balancer.wire.writes.length).toBe(writesBefore + 1);
  expect(far.events).toEqual(["data 3"]);
  expect(far.text).toBe("abc");
  expect(worker.accepted[1]?.events).toEqual(["data 3"]);
  expect(worker.accepted[1]?.text).toBe("ABC");
});

test("a half that has ended leaves the other one open", async () => {
  const { settle, near, far, balancer, worker } = await pairWithStream();
  near.stream.write(["last"]);
  near.stream.end();
  await settle();
  expect(far.events).toEqual(["data 4", "end"]);
  far.stream.write(["more"]);
  await settle();
  expect(near.events).toEqual(["data 4"]);
  far.stream.end();
  await settle();
  expect(near.events).toEqual(["data 4", "end", "close"]);
  expect(far.events).toEqual(["data 4", "end", "close"]);
  expect([balancer.link.size, worker.link.size]).toEqual([0, 0]);
  expect(balancer.counts.resets + worker.counts.resets).toBe(0);
});

test("what is written after the end of a half is dropped, and does not ask its writer to wait", async () => {
  const { settle, near, far } = await pairWithStream();
  near.stream.end();
  expect(near.stream.write(["late"])).toBe(true);
  await settle();
  expect(far.events).toEqual(["end"]);
});

test("a stream that is destroyed delivers what has left, then its end, and closes at both ends", async () => {
  const { settle, near, far, balancer, worker } = await pairWithStream();
  near.stream.write(["whole"]);
  near.stream.destroy();
  await settle();
  expect(far.events).toEqual(["data 5", "end", "close"]);
  expect(near.events).toEqual(["close"]);
  expect([balancer.link.size, worker.link.size]).toEqual([0, 0]);
  expect(balancer.counts.resets + worker.counts.resets).toBe(0);
});

test("a stream that is destroyed with bytes unsent is seen to be incomplete", async () => {
  const { settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write([text(WINDOW_BYTES + 1)]);
  near.stream.destroy();
  await settle();
  expect(far.events.at(-1)).toBe(ABORTED);
});

test("a stream that is reset is an error at the other end, and counted at both", async () => {
  const { settle, near, far, balancer, worker } = await pairWithStream();
  near.stream.write(["half"]);
  near.stream.reset();
  await settle();
  expect(far.events).toEqual(["data 4", ABORTED]);
  expect(near.events).toEqual(["close"]);
  expect([balancer.counts.resets, worker.counts.resets]).toEqual([1, 1]);
});

test("each stream is closed once, whatever both ends do at the same time", async () => {
  const ends = ["end", "destroy", "reset"] as const;
  for (const first of ends) {
    for (const second of ends) {
      const { settle, near, far, balancer, worker } = await pairWithStream();
      near.stream.write(["x"]);
      far.stream.write(["y"]);
      near.stream[first]();
      far.stream[second]();
      near.stream.destroy();
      near.stream.reset();
      await settle();
      far.stream.destroy();
      await settle();
      for (const { events } of [near, far]) {
        expect(events.filter((event) => event.startsWith("close"))).toHaveLength(1);
        expect(events.at(-1)).toMatch(/^close/);
      }
      expect([balancer.link.size, worker.link.size]).toEqual([0, 0]);
      expect([...balancer.bugs, ...worker.bugs]).toEqual([]);
    }
  }
});

test("the last of several streams to end leaves the link idle", async () => {
  const { balancer, settle, near } = await pairWithStream();
  const other = balancer.open();
  near.stream.destroy();
  await settle();
  expect(balancer.idle).toBe(0);
  other.stream.reset();
  await settle();
  expect(balancer.idle).toBe(1);
});

// --- pausing ---

test("a paused stream gets nothing until it is resumed, then all of it in order, and its end", async () => {
  const { settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write(["one "]);
  await settle();
  near.stream.write(["two "]);
  near.stream.end();
  await settle();
  expect(far.events).toEqual([]);
  far.stream.resume();
  expect(far.events).toEqual([]);
  await settle();
  expect(far.text).toBe("one two ");
  expect(far.events.at(-1)).toBe("end");
});

test("a stream that is paused by its handler keeps the rest in order behind what comes later", async () => {
  const { settle, near, far } = await pairWithStream();
  far.stream.pause();
  for (const part of ["a", "b", "c"]) {
    near.stream.write([part]);
    await settle();
  }
  far.whenData = () => far.stream.pause();
  far.stream.resume();
  await settle();
  expect(far.text).toBe("a");
  near.stream.write(["d"]);
  await settle();
  for (const soFar of ["ab", "abc", "abcd"]) {
    far.stream.resume();
    await settle();
    expect(far.text).toBe(soFar);
  }
});

test("a paused stream that its peer closes in order delivers everything once it is resumed", async () => {
  const { settle, near, far, worker } = await pairWithStream();
  far.stream.pause();
  near.stream.write(["all of it"]);
  near.stream.destroy();
  await settle();
  expect(far.events).toEqual([]);
  expect(worker.link.size).toBe(1);
  far.stream.resume();
  await settle();
  expect(far.events).toEqual(["data 9", "end", "close"]);
  expect(worker.link.size).toBe(0);
});

test("a paused stream whose writer waits when its peer closes it lets the writer go on, and can end", async () => {
  const { settle, near, far, worker } = await pairWithStream();
  far.stream.pause();
  near.stream.pause();
  near.stream.write(["question"]);
  // As a server that reads its next request when its response has left.
  expect(far.stream.write([text(WINDOW_BYTES + MAX_QUEUED_BYTES)])).toBe(false);
  await settle();
  near.stream.destroy();
  await settle();
  expect(far.events).toEqual(["drain"]);
  expect(far.stream.write(["more"])).toBe(true);
  far.stream.resume();
  await settle();
  expect(far.events).toEqual(["drain", "data 8", "end", "close"]);
  expect(worker.link.size).toBe(0);
});

// --- windows ---

test("no more than 64 KiB of a stream are ever on the way or unread", async () => {
  const { settle, near, far, balancer } = await pairWithStream();
  far.stream.pause();
  const bytes = text(300_000);
  expect(near.stream.write([bytes])).toBe(false);
  await settle();
  expect(near.stream.pendingBytes).toBe(bytes.length - WINDOW_BYTES);
  expect(balancer.counts.stalls).toBe(1);
  far.whenData = () => far.stream.pause();
  for (let consumed = 0; far.text.length < bytes.length; consumed = far.text.length) {
    far.stream.resume();
    await settle();
    const sent = bytes.length - near.stream.pendingBytes;
    expect(sent - consumed).toBeLessThanOrEqual(2 * WINDOW_BYTES);
    expect(sent - far.text.length).toBeLessThanOrEqual(WINDOW_BYTES);
  }
  await settle();
  expect(far.text).toBe(bytes.toString());
  expect(near.events).toEqual(["drain"]);
});

test("a half that ends with bytes unsent ends behind them", async () => {
  const { settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write([text(200_000)]);
  near.stream.end();
  await settle();
  far.stream.resume();
  await settle();
  expect(far.text.length).toBe(200_000);
  expect(far.events.at(-1)).toBe("end");
});

test("the backlog of a stream is what its peer has not consumed, as far as it has told", async () => {
  const { settle, near, far } = await pairWithStream();
  const backlog = (): Promise<number> => new Promise((done) => near.stream.measureBacklog(done));
  expect(await backlog()).toBe(0);
  far.stream.pause();
  near.stream.write([text(100_000)]);
  await settle();
  expect(await backlog()).toBe(100_000);
  far.stream.resume();
  await settle();
  expect(await backlog()).toBeLessThan(WINDOW_BYTES / 2);
});

test("a stream that is not read holds up itself only", async () => {
  const { balancer, worker, settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write([text(500_000)]);
  await settle();
  const other = balancer.open();
  for (let round = 0; round < 10; round++) {
    other.stream.write([text(60_000)]);
    await settle();
  }
  expect(worker.accepted[1]?.text.length).toBe(600_000);
  expect(far.events).toEqual([]);
});

test("data beyond the window resets its stream alone, and is counted", async () => {
  const worker = createEnd(true);
  worker.receive(open(1), open(2));
  const [full, other] = worker.accepted as [Recorder, Recorder];
  full.stream.pause();
  for (let sent = 0; sent < WINDOW_BYTES; sent += 16_384) worker.receive(data(1, text(16_384)));
  expect(worker.counts.errors).toBe(0);
  worker.receive(data(1, "x"), data(2, "fine"));
  await turnEnd();
  expect(full.events).toEqual(["close"]);
  expect(other.events).toEqual(["data 4"]);
  expect(worker.counts).toMatchObject({ errors: 1, resets: 1 });
  expect(kindsSent(worker, 1)).toEqual(["reset"]);
  expect(worker.link.isClosed).toBe(false);
});

test.each([1, 65_536, 0xffff_ffff])(
  "a credit of %d bytes more than were sent resets its stream alone, and is counted",
  async (bytes) => {
    const worker = createEnd(true);
    worker.receive(open(1), open(2), credit(1, bytes), data(2, "fine"));
    await turnEnd();
    expect(worker.accepted.map(({ events }) => events)).toEqual([["close"], ["data 4"]]);
    expect(worker.counts).toMatchObject({ errors: 1, resets: 1 });
    expect(kindsSent(worker, 1)).toEqual(["reset"]);
  },
);

// --- frames that are out of place ---

test("opening a number again ends the link", async () => {
  for (const again of [1, 2]) {
    const worker = createEnd(true);
    worker.receive(open(1), open(2), data(2, "came before"));
    worker.receive(open(again));
    await turnEnd();
    expect(worker.closed).toHaveLength(1);
    expect(worker.wire.isDestroyed).toBe(true);
    expect(worker.accepted[1]?.text).toBe("came before");
    expect(worker.counts.errors).toBe(1);
    expect(worker.link.size).toBe(0);
  }
});

test("a number that was used and closed cannot be opened again", () => {
  const worker = createEnd(true);
  worker.receive(open(5), reset(5, RESET.aborted));
  worker.receive(open(5));
  expect(worker.closed).toHaveLength(1);
});

test("numbers may be left out, and a lower one then ends the link", () => {
  const worker = createEnd(true);
  worker.receive(open(5), open(9));
  expect(worker.link.size).toBe(2);
  worker.receive(open(7));
  expect(worker.closed).toHaveLength(1);
});

test("a worker that opens a stream ends the link", () => {
  const balancer = createEnd(false);
  balancer.receive(open(1));
  expect(balancer.closed).toHaveLength(1);
  expect(balancer.counts.errors).toBe(1);
});

test("frames for a stream that is over are ignored", async () => {
  const worker = createEnd(true);
  worker.receive(open(1));
  worker.accepted[0]?.stream.reset();
  await turnEnd();
  const sent = worker.wire.writes.length;
  worker.receive(data(1, "late"), credit(1, 10), fin(1), reset(1, RESET.aborted));
  await turnEnd();
  expect(worker.wire.writes.length).toBe(sent);
  expect(worker.counts).toMatchObject({ errors: 0, resets: 1 });
});

test("frames for a stream that was never opened are answered with a reset, and counted", async () => {
  const worker = createEnd(true);
  worker.receive(open(1));
  worker.receive(data(7, "who"), fin(8), credit(9, 1), reset(10, RESET.aborted), data(1, "fine"));
  await turnEnd();
  expect(worker.accepted[0]?.text).toBe("fine");
  const sent = framesIn(worker.wire.take(Number.POSITIVE_INFINITY));
  expect(sent.map(({ kind, stream }) => [kind, stream])).toEqual([
    ["reset", 7],
    ["reset", 8],
    ["reset", 9],
  ]);
  expect(worker.counts.errors).toBe(3);
});

test("data behind the end of a half resets its stream alone, and is not delivered", async () => {
  const worker = createEnd(true);
  worker.receive(open(1), open(2), data(1, "all"), fin(1));
  worker.receive(data(1, "more"), data(2, "fine"));
  await turnEnd();
  expect(worker.accepted.map(({ events }) => events)).toEqual([
    ["data 3", "end", "close"],
    ["data 4"],
  ]);
  expect(worker.counts).toMatchObject({ errors: 1, resets: 1 });
});

test("a second end of a half is ignored", () => {
  const worker = createEnd(true);
  worker.receive(open(1), fin(1), fin(1));
  expect(worker.accepted[0]?.events).toEqual(["end"]);
  expect(worker.link.size).toBe(1);
});

test("what one read brings is delivered before the end or the reset behind it", async () => {
  for (const [last, events] of [
    [fin(1), ["data 8", "end"]],
    [reset(1, RESET.closed), ["data 8", "end", "close"]],
    [reset(1, RESET.aborted), ["data 8", ABORTED]],
  ] as const) {
    const worker = createEnd(true);
    worker.receive(open(1), data(1, "text"), open(2), data(2, "x"), data(1, "more"), last);
    await turnEnd();
    expect(worker.accepted[0]?.text).toBe("textmore");
    expect(worker.accepted[0]?.events).toEqual(events);
    expect(worker.accepted[1]?.text).toBe("x");
  }
});

test("a control frame of a later version is ignored", () => {
  const worker = createEnd(true);
  worker.receive(Buffer.from([0, 0, 0, 1, 0, 0, 0, 5, 77]), open(1));
  expect(worker.link.size).toBe(1);
});

test("a framing error ends the link with all its streams, behind what came before it", async () => {
  const worker = createEnd(true);
  worker.receive(open(1), data(1, "before"), Buffer.alloc(8, 0xff), data(1, "behind"));
  await turnEnd();
  expect(worker.accepted[0]?.text).toBe("before");
  expect(worker.accepted[0]?.events.at(-1)).toMatch(/^close a frame/);
  expect(worker.counts.errors).toBe(1);
  worker.receive(open(2));
  expect(worker.accepted).toHaveLength(1);
});

// --- many streams ---

test("10,000 streams that are opened and reset leave nothing behind", async () => {
  const { balancer, worker, settle } = createPair();
  for (let round = 0; round < 100; round++) {
    const opened = Array.from({ length: 100 }, () => balancer.open());
    for (const { stream } of opened) stream.write(["hello"]);
    if (round % 2 === 0) await settle();
    for (const { stream } of opened) stream.reset();
    await settle();
    expect([balancer.link.size, worker.link.size]).toEqual([0, 0]);
  }
  expect(worker.counts).toMatchObject({ streamsOpened: 10_000, resets: 10_000, errors: 0 });
  expect(balancer.counts).toMatchObject({ streamsOpened: 10_000, resets: 10_000, errors: 0 });
  expect([...balancer.bugs, ...worker.bugs]).toEqual([]);
});

test("a peer that opens too many streams gets resets for those beyond, and its link goes on", async () => {
  const worker = createEnd(true);
  const first = Array.from({ length: MAX_STREAMS }, (_, index) => open(index + 1));
  worker.receive(...first);
  worker.receive(open(MAX_STREAMS + 1), data(MAX_STREAMS + 1, "x"), data(1, "fine"));
  await turnEnd();
  expect(worker.link.size).toBe(MAX_STREAMS);
  expect(kindsSent(worker, MAX_STREAMS + 1)).toEqual(["reset"]);
  expect(worker.accepted[0]?.text).toBe("fine");
  expect(worker.counts).toMatchObject({ errors: 0, resets: 1 });
  worker.accepted[0]?.stream.destroy();
  worker.receive(open(MAX_STREAMS + 2));
  expect(worker.link.size).toBe(MAX_STREAMS);
});

test("a link has room for a limited number of streams", async () => {
  const balancer = createEnd(false);
  const opened = Array.from({ length: MAX_STREAMS }, () => balancer.open());
  expect(balancer.link.hasRoom).toBe(false);
  opened[0]?.stream.destroy();
  expect(balancer.link.hasRoom).toBe(true);
  await turnEnd();
});

// --- a wire that takes no more ---

test("streams take turns, one frame each, when a wire that was full takes more", async () => {
  const { balancer, worker, settle } = createPair();
  const streams = Array.from({ length: 12 }, () => balancer.open());
  await settle();
  balancer.wire.isFull = true;
  for (const { stream } of streams) stream.write([text(60_000)]);
  await turnEnd();
  expect(balancer.wire.pendingBytes).toBeGreaterThan(0);
  // Those that came first have filled the wire; of the others none may get ahead.
  expect(streams.filter(({ stream }) => stream.pendingBytes > 0).length).toBeGreaterThan(5);
  drain(balancer, worker, Number.POSITIVE_INFINITY);
  await turnEnd();
  const waiting = streams.filter(({ stream }) => stream.pendingBytes > 0);
  const left = waiting.map(({ stream }) => stream.pendingBytes);
  expect(Math.max(...left) - Math.min(...left)).toBeLessThanOrEqual(16_384);
  while (balancer.wire.unread > 0) {
    drain(balancer, worker, Number.POSITIVE_INFINITY);
    await turnEnd();
  }
  balancer.wire.isFull = false;
  await settle();
  for (const { text: arrived } of worker.accepted) expect(arrived).toBe(text(60_000).toString());
});

test("a full wire holds a bounded number of bytes, and a small message waits for few of them", async () => {
  const { balancer, worker, settle } = createPair();
  const floods = Array.from({ length: 100 }, () => balancer.open());
  const quiet = balancer.open();
  await settle();
  balancer.wire.isFull = true;
  for (const { stream } of floods) stream.write([text(60_000)]);
  await turnEnd();
  expect(balancer.wire.pendingBytes).toBeLessThan(2 * 262_144);
  quiet.stream.write(["quiet"]);
  drain(balancer, worker, Number.POSITIVE_INFINITY);
  for (let turns = 0; worker.accepted[100]?.text !== "quiet"; turns++) {
    // One frame of each of the 100.
    expect(turns).toBeLessThan((100 * 16_384) / 262_144 + 2);
    await turnEnd();
    drain(balancer, worker, Number.POSITIVE_INFINITY);
  }
});

test("a stream that closes while it waits for a full wire takes no turn", async () => {
  const { balancer, worker, settle } = createPair();
  const floods = Array.from({ length: 20 }, () => balancer.open());
  await settle();
  balancer.wire.isFull = true;
  for (const { stream } of floods) stream.write([text(60_000)]);
  await turnEnd();
  for (const { stream } of floods) stream.reset();
  balancer.wire.isFull = false;
  balancer.link.onDrain();
  await settle();
  expect([balancer.link.size, worker.link.size]).toEqual([0, 0]);
  expect(worker.counts.errors).toBe(0);
  expect([...balancer.bugs, ...worker.bugs]).toEqual([]);
});

test("a frame that fits is written straight into the link, and not when something waits before it", async () => {
  const { balancer, worker, settle, near, far } = await pairWithStream();
  const put = (bytes: string): boolean => {
    const at = near.stream.reserve(bytes.length);
    if (at < 0) return false;
    near.stream.out.write(bytes, at, "latin1");
    return true;
  };
  expect(put("direct ")).toBe(true);
  near.stream.write(["usual "]);
  expect(put("direct again")).toBe(true);
  expect(near.stream.reserve(0)).toBe(-1);
  expect(near.stream.reserve(16_385)).toBe(-1);
  await settle();
  expect(far.text).toBe("direct usual direct again");
  far.stream.pause();
  near.stream.write([text(WINDOW_BYTES + 1)]);
  expect(near.stream.reserve(1)).toBe(-1);
  near.stream.end();
  expect(near.stream.reserve(1)).toBe(-1);
  expect(balancer.bugs.concat(worker.bugs)).toEqual([]);
});

// --- bugs in handlers ---

test("an exception in a handler resets its stream alone, and is reported", async () => {
  const { balancer, worker, settle, near, far } = await pairWithStream();
  const other = balancer.open();
  far.whenData = () => {
    throw new Error("a bug");
  };
  near.stream.write(["x"]);
  other.stream.write(["fine"]);
  await settle();
  expect(near.events).toEqual([ABORTED]);
  expect(worker.accepted[1]?.text).toBe("fine");
  expect(worker.bugs).toEqual([new Error("a bug")]);
  expect(worker.link.isClosed).toBe(false);
});

test.each(["onEnd", "onDrain", "onClose"] as const)(
  "an exception in %s concerns its stream only",
  async (event) => {
    const { worker, balancer, settle, near, far } = await pairWithStream();
    const other = balancer.open();
    far[event] = () => {
      throw new Error("a bug");
    };
    near.stream.pause();
    far.stream.write([text(WINDOW_BYTES + MAX_QUEUED_BYTES)]);
    await settle();
    near.stream.resume();
    await settle();
    near.stream.end();
    await settle();
    near.stream.destroy();
    other.stream.write(["fine"]);
    await settle();
    expect(worker.bugs).toEqual([new Error("a bug")]);
    expect(worker.accepted[1]?.text).toBe("fine");
    expect(worker.link.size).toBe(1);
  },
);

test("an exception while a stream is accepted resets it, and the link goes on", async () => {
  const { balancer, worker, settle } = createPair((stream) => {
    if (stream.id === 1) throw new Error("a bug");
  });
  const first = balancer.open();
  const second = balancer.open();
  second.stream.write(["fine"]);
  await settle();
  expect(first.events).toEqual([ABORTED]);
  expect(worker.accepted[1]?.text).toBe("fine");
  expect(worker.bugs).toEqual([new Error("a bug")]);
});

// --- heartbeats, and the end of a link ---

test("a link whose peer sends heartbeats stays open", async () => {
  const { balancer, worker, settle } = createPair();
  for (let beat = 0; beat < 20; beat++) {
    balancer.link.beat();
    worker.link.beat();
    await settle();
  }
  expect([balancer.closed, worker.closed]).toEqual([[], []]);
  expect(expectedReading(worker.wire.sent).events[0]).toBe(`control 0 ${CONTROL.heartbeat}`);
});

test("a link on which nothing has come for four beats ends at the next one, with its streams", async () => {
  const { balancer, near } = await pairWithStream();
  for (let beat = 0; beat < 4; beat++) balancer.link.beat();
  expect(balancer.closed).toEqual([]);
  balancer.link.beat();
  await turnEnd();
  expect(balancer.closed).toHaveLength(1);
  expect(balancer.wire.isDestroyed).toBe(true);
  expect(near.events).toEqual(["close the link's peer is silent"]);
  balancer.link.beat();
  expect(balancer.closed).toHaveLength(1);
});

test("any byte of the peer shows that it lives", async () => {
  const worker = createEnd(true);
  worker.receive(open(1));
  for (const byte of data(1, "slow")) {
    for (let beat = 0; beat < 4; beat++) worker.link.beat();
    worker.receive(Buffer.of(byte));
  }
  expect(worker.closed).toEqual([]);
  expect(worker.accepted[0]?.text).toBe("slow");
});

test("a link that is lost delivers what came before, also to paused streams", async () => {
  const { balancer, worker, settle, near, far } = await pairWithStream();
  const read = balancer.open();
  far.stream.pause();
  near.stream.write(["first "]);
  read.stream.write(["read at once"]);
  await settle();
  near.stream.write(["second"]);
  await settle();
  const lost = new Error("the cable is out");
  worker.link.onWireClosed(lost);
  await turnEnd();
  expect(worker.closed).toEqual([lost]);
  expect(worker.accepted[1]?.events).toEqual(["data 12", "close the cable is out"]);
  expect(far.events).toEqual([]);
  far.stream.resume();
  await turnEnd();
  expect(far.text).toBe("first second");
  expect(far.events.at(-1)).toBe("close the cable is out");
});

test("a link that is lost does not take back the end that a paused stream has got", async () => {
  const { worker, settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write(["all"]);
  near.stream.end();
  await settle();
  worker.link.onWireClosed(new Error("lost"));
  far.stream.resume();
  await turnEnd();
  expect(far.events).toEqual(["data 3", "end", "close lost"]);
});

test("a link that is lost is no error for a paused stream that was closed in order", async () => {
  const { worker, settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.write(["all"]);
  near.stream.destroy();
  await settle();
  worker.link.onWireClosed(new Error("lost"));
  far.stream.resume();
  await turnEnd();
  expect(far.events).toEqual(["data 3", "end", "close"]);
});

test("a writer that waits when its link is lost is not left waiting", async () => {
  const { worker, settle, near, far } = await pairWithStream();
  far.stream.pause();
  near.stream.pause();
  near.stream.write(["question"]);
  far.stream.write([text(WINDOW_BYTES + MAX_QUEUED_BYTES)]);
  await settle();
  worker.link.onWireClosed(new Error("lost"));
  await turnEnd();
  expect(far.events).toEqual(["drain"]);
});

test("a link that is closed in order has sent what its streams wrote", async () => {
  const { balancer, worker, near, far } = await pairWithStream();
  far.stream.write(["last words"]);
  worker.link.close();
  balancer.receive(worker.wire.take(Number.POSITIVE_INFINITY));
  expect(near.text).toBe("last words");
  expect(worker.wire.isDestroyed).toBe(true);
  await turnEnd();
  expect(far.events).toEqual(["close the link was closed"]);
  expect(worker.closed).toEqual([undefined]);
});

test("a link that a handler closes opens no stream that follows in the same read", () => {
  const worker = createEnd(true, (stream) => {
    if (stream.id === 1) worker.link.close();
  });
  worker.receive(open(1), open(2), data(2, "x"));
  expect(worker.accepted).toHaveLength(1);
  expect(worker.link.size).toBe(0);
});
