/**
 * Reads accepted sockets into buffers of our own, as `onread` of `net.connect` does for dialled ones. Node documents no such
 * option for a server's sockets, so this uses what the option sets, found on a socket at start, and tests that it works:
 * docs/adr/0013-reads-of-accepted-sockets.md. Where it does not, sockets are read by their `data` events.
 */
import { once } from "node:events";
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

const SENT = Buffer.alloc(200_000, "the reads of accepted sockets ");
/** Far more than it takes: a hanging test must not keep the ports closed. */
const TEST_MS = 2000;

/**
 * Sends bytes over the loopback address: they must arrive in the buffers that the target names, in order, with no `data`
 * event, stop while the socket is paused, and be followed by the end. Rejects if anything differs.
 */
async function selfTest(direct: DirectReads): Promise<void> {
  const server = createServer({ allowHalfOpen: true });
  const sockets: Socket[] = [];
  let deadline: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      deadline = setTimeout(() => reject(new Error("no end in time")), TEST_MS);
      server.once("error", reject);
      server.listen({ host: "127.0.0.1", port: 0, exclusive: true }, () => {
        const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
        sockets.push(client);
        client.once("error", reject);
        client.once("connect", () => client.end(SENT));
        server.on("connection", (socket) => {
          sockets.push(socket);
          socket.on("error", reject);
          // Any program may connect to any port.
          if (socket.remotePort !== client.localPort) socket.destroy();
          else receive(socket, direct).then(resolve, reject);
        });
      });
    });
  } finally {
    clearTimeout(deadline);
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

/** Resolves at the end of `socket` when it has brought what was sent. */
async function receive(socket: Socket, direct: DirectReads): Promise<void> {
  const buffers = [Buffer.alloc(4096), Buffer.alloc(65_536)] as const;
  const received: Buffer[] = [];
  let problem: string | undefined;
  let isPaused = false;
  const target = {
    get buffer() {
      return buffers[received.length % 2] ?? buffers[0];
    },
    onRead(length: number) {
      if (isPaused) problem = "a read while paused";
      received.push(Buffer.from(this.buffer.subarray(0, length)));
      if (received.length !== 2) return;
      isPaused = true;
      socket.pause();
      setImmediate(() => {
        isPaused = false;
        socket.resume();
      });
    },
  };
  socket.on("data", () => {
    problem = "a data event";
  });
  direct(socket, target);
  socket.resume();
  await once(socket, "end");
  if (!Buffer.concat(received).equals(SENT)) problem ??= "other bytes than were sent";
  if (received.length <= 2) problem ??= "fewer reads than buffers";
  if (problem !== undefined) throw new Error(problem);
}
