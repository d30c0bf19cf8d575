/**
 * Two links joined in memory: the test decides when bytes arrive, in which pieces, and whether the wire takes more.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { Link, type Wire } from "../../../shared/link/link.ts";
import { type LinkCounts, newLinkCounts } from "../../../shared/link/link-counts.ts";
import type { Chunk, LinkStream, StreamHandler } from "../../../shared/link/stream.ts";

export class MemoryWire implements Wire {
  readonly remoteAddress = "192.0.2.1";
  /** All that was written. */
  sent = Buffer.alloc(0);
  isDestroyed = false;
  /** Whether it keeps what it gets until `take`, as a kernel does whose buffer is full. */
  isFull = false;
  /** Sizes of the reads at the other end. */
  readBytes = Number.POSITIVE_INFINITY;
  /** The sizes of the writes. */
  readonly writes: number[] = [];
  #unread: Buffer[] = [];

  write(chunk: Chunk): void {
    this.writes.push(chunk.length);
    this.#unread.push(typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk);
  }

  get unread(): number {
    return this.#unread.reduce((sum, { length }) => sum + length, 0);
  }

  get pendingBytes(): number {
    return this.isFull ? this.unread : 0;
  }

  end(): void {
    this.isDestroyed = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  /** Takes up to `limit` bytes out. */
  take(limit: number): Buffer {
    const all = Buffer.concat(this.#unread);
    const taken = all.subarray(0, limit);
    this.#unread = limit < all.length ? [all.subarray(limit)] : [];
    this.sent = Buffer.concat([this.sent, taken]);
    return taken;
  }
}

export interface End {
  readonly link: Link;
  /** What it writes to. */
  readonly wire: MemoryWire;
  readonly counts: LinkCounts;
  /** Of the streams that the peer has opened, in order. */
  readonly accepted: Recorder[];
  readonly bugs: unknown[];
  /** How it was closed, once for each time. */
  readonly closed: (Error | undefined)[];
  /** How often its last stream has ended. */
  idle: number;
  /** Opens a stream with a recorder. */
  open(this: void): Recorder;
  /** Gives it bytes as if from the peer, in one read. */
  receive(...frames: readonly Buffer[]): void;
}

/** One end alone; `accepts`: whether the peer may open streams. */
export function createEnd(accepts: boolean, onStream?: (stream: LinkStream) => void): End {
  const wire = new MemoryWire();
  const counts = newLinkCounts();
  const accepted: Recorder[] = [];
  const bugs: unknown[] = [];
  const closed: (Error | undefined)[] = [];
  const accept = (stream: LinkStream): void => {
    accepted.push(new Recorder(stream));
    onStream?.(stream);
  };
  const link = new Link(wire, {
    counts,
    ...(accepts && { onStream: accept }),
    onClosed: (why) => closed.push(why),
    onIdle: () => {
      end.idle++;
    },
    reportBug: (error) => bugs.push(error),
  });
  const end: End = {
    link,
    wire,
    counts,
    accepted,
    bugs,
    closed,
    idle: 0,
    open: () => new Recorder(link.open()),
    receive(...frames) {
      const bytes = Buffer.concat(frames);
      link.receive(bytes);
      // A balancer's next read is into the same buffer.
      if (!accepts) bytes.fill("?");
    },
  };
  return end;
}

export interface Pair {
  readonly balancer: End;
  readonly worker: End;
  /** Carries bytes both ways until nothing moves any more. */
  settle(this: void): Promise<void>;
}

export function createPair(onStream?: (stream: LinkStream) => void): Pair {
  const balancer = createEnd(false);
  const worker = createEnd(true, onStream);
  return {
    balancer,
    worker,
    async settle() {
      for (let quiet = 0; quiet < 2; ) {
        await nextTurn();
        const moved = carry(balancer, worker) + carry(worker, balancer);
        quiet = moved === 0 ? quiet + 1 : 0;
      }
    },
  };
}

/** What is written by the end of this turn has then left. */
export async function turnEnd(): Promise<void> {
  await nextTurn();
  await nextTurn();
}

function carry(from: End, to: End): number {
  if (from.wire.isFull || from.wire.unread === 0) return 0;
  const bytes = from.wire.take(Number.POSITIVE_INFINITY);
  for (let at = 0; at < bytes.length; at += from.wire.readBytes) {
    to.receive(bytes.subarray(at, at + from.wire.readBytes));
  }
  return bytes.length;
}

/** Takes bytes out of a full wire, and gives them to the other end. */
export function drain(from: End, to: End, limit: number): void {
  to.receive(from.wire.take(limit));
  if (from.wire.unread === 0) from.link.onDrain();
}

/** The handler of a stream that notes what it gets. */
export class Recorder implements StreamHandler {
  readonly stream: LinkStream;
  /** `data <bytes>`, `end`, `drain`, `close` or `close <message>`. */
  readonly events: string[] = [];
  /** As latin1. */
  text = "";
  /** Called with what comes. */
  whenData: ((bytes: Buffer) => void) | undefined;

  constructor(stream: LinkStream) {
    this.stream = stream;
    stream.handler = this;
  }

  onData(bytes: Buffer): void {
    this.events.push(`data ${bytes.length}`);
    this.text += bytes.toString("latin1");
    this.whenData?.(bytes);
  }

  onEnd(): void {
    this.events.push("end");
  }

  onDrain(): void {
    this.events.push("drain");
  }

  onClose(error: Error | undefined): void {
    this.events.push(error === undefined ? "close" : `close ${error.message}`);
  }
}
