/**
 * Reads accepted sockets into buffers of our own, as `onread` of `net.connect` does for dialled ones. Node documents no such
 * option for a server's sockets, so this uses what the option sets, found on a socket at start, and tests that it works:
 * docs/adr/0013-reads-of-accepted-sockets.md. Where it does not, sockets are read by their `data` events.
 */
import { type AddressInfo, connect, createServer, Socket } from "node:net";

/** Receives the reads of a socket. */
export interface ReadTarget {
  /** Where the next read goes. */
  readonly buffer: Buffer;
  /** `length` bytes were read into that buffer. */
  onRead(length: number): void;
}

/**
 * Directs the reads of a socket that was accepted in this turn of the event loop to `target`. The socket emits no `data`; it
 * must flow (`resume`) to report its end.
 */
export type DirectReads = (socket: Socket, target: ReadTarget) => void;

/** What Node's `Socket` keeps of the option. */
interface Slots {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

interface Opened {
  readonly _handle?: { useUserBuffer?: unknown };
  [slot: symbol]: unknown;
}

/** Rejects where this Node works in another way, or the test fails. */
export async function findDirectReads(): Promise<DirectReads> {
  const direct = directBy(findSlots());
  await selfTest(direct);
  return direct;
}

function findSlots(): Slots {
  const symbols = Object.getOwnPropertySymbols(new Socket());
  const named = (name: string): symbol | undefined =>
    symbols.find(({ description }) => description === name);
  const buffer = named("kBuffer");
  const callback = named("kBufferCb");
  const generator = named("kBufferGen");
  if (buffer === undefined || callback === undefined || generator === undefined) {
    throw new Error("this version of Node keeps no read buffer in its sockets");
  }
  return { buffer, callback, generator };
}

function directBy({ buffer, callback, generator }: Slots): DirectReads {
  return (socket, target) => {
    const inside = socket as Socket & Opened;
    const handle = inside._handle;
    if (typeof handle?.useUserBuffer !== "function")
      throw new Error("the socket's handle takes no read buffer");
    const first = target.buffer;
    inside[buffer] = first;
    inside[callback] = (length: number): boolean => {
      target.onRead(length);
      return true;
    };
    inside[generator] = () => target.buffer;
    handle.useUserBuffer(first);
  };
}

// --- the test at start ---

const TEST_BYTES = 200_000;
/** Far more than it takes: a hanging test must not keep the ports closed. */
const TEST_MS = 2000;

/**
 * Sends bytes over the loopback address in three parts: they must arrive in the buffers that the target names, in order, with
 * no `data` event, stop while the socket is paused, and be followed by the end. Rejects if anything differs.
 */
async function selfTest(direct: DirectReads): Promise<void> {
  const sent = Buffer.alloc(TEST_BYTES, "the reads of accepted sockets ");
  const received: Buffer[] = [];
  const buffers = [Buffer.alloc(4096), Buffer.alloc(65_536)] as const;
  const server = createServer({ allowHalfOpen: true });
  const sockets: Socket[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error("no end in time")), TEST_MS);
      const check = (isRight: boolean, what: string): void => {
        if (isRight) return;
        clearTimeout(deadline);
        reject(new Error(what));
      };
      server.once("error", reject);
      server.once("connection", (socket) => {
        sockets.push(socket);
        let reads = 0;
        let isPaused = false;
        const target = {
          get buffer() {
            return buffers[reads % 2] ?? buffers[0];
          },
          onRead(length: number) {
            check(!isPaused, "a read while paused");
            received.push(Buffer.from(this.buffer.subarray(0, length)));
            reads++;
            if (reads !== 2) return;
            isPaused = true;
            socket.pause();
            setImmediate(() => {
              isPaused = false;
              socket.resume();
            });
          },
        };
        socket.once("error", reject);
        socket.on("data", () => check(false, "a data event"));
        direct(socket, target);
        socket.resume();
        socket.once("end", () => {
          clearTimeout(deadline);
          check(Buffer.concat(received).equals(sent), "other bytes than were sent");
          check(reads > 2, "fewer reads than buffers");
          resolve();
        });
      });
      server.listen(0, "127.0.0.1", () => {
        const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
        sockets.push(client);
        client.once("error", reject);
        client.end(sent);
      });
    });
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}
