/**
 * How much of what was written to a TCP connection the other side has not acknowledged yet, as the system knows it. The
 * system's buffers hold megabytes and let a writer go on only when a third of them is free, so a slow reader looks from
 * here, for a minute and longer, like one that has stopped. Linux tells the difference in /proc/net/tcp; where that is
 * missing, nothing is known.
 */
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";

/** Both ends of a connection, as its socket names them. */
export interface Ends {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface SendQueues {
  /** Bytes that were handed to the system and not acknowledged; undefined when the system does not tell. Never rejects. */
  bytesOf(ends: Ends): Promise<number | undefined>;
}

type Table = ReadonlyMap<string, number>;

/** A table that took long to read is good for longer: reading takes a tenth of the time at most. */
const KEPT_SHARE = 10;

/** Reads the system's table once for all that ask at about the same time: with 20,000 connections it has 3 MB. */
export function createSendQueues(read: (path: string) => Promise<string> = readText): SendQueues {
  const reading = new Map<string, Promise<Table | undefined>>();

  function tableOf(path: string): Promise<Table | undefined> {
    const running = reading.get(path);
    if (running !== undefined) return running;
    const startedMs = performance.now();
    const table = read(path)
      .then(parseTable, () => undefined)
      .finally(() => {
        const keptMs = KEPT_SHARE * (performance.now() - startedMs);
        setTimeout(() => reading.delete(path), keptMs).unref();
      });
    reading.set(path, table);
    return table;
  }

  return {
    async bytesOf(ends) {
      const path = ends.localAddress.includes(":") ? "/proc/net/tcp6" : "/proc/net/tcp";
      const table = await tableOf(path);
      // A connection that the table lacks has nothing waiting.
      return table === undefined ? undefined : (table.get(keyOf(ends)) ?? 0);
    },
  };
}

function readText(path: string): Promise<string> {
  return readFile(path, "latin1");
}

// --- the table (pure) ---

/** `  12: 0100007F:0438 0100007F:D2C4 01 00281000:00000000 …`: both ends, the state, the queue to send in hexadecimal. */
const LINE = /^\s*\d+: ([0-9A-F]+:[0-9A-F]{4} [0-9A-F]+:[0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/gm;

/** The queue to send of each connection by its `keyOf`; those with an empty one are left out. */
export function parseTable(text: string): Table {
  const table = new Map<string, number>();
  for (const [, key, queue] of text.matchAll(LINE)) {
    const bytes = Number.parseInt(queue ?? "", 16);
    if (key !== undefined && bytes > 0) table.set(key, bytes);
  }
  return table;
}

/** How the table names a connection. */
export function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Ends): string {
  return `${hexOf(localAddress)}:${portOf(localPort)} ${hexOf(remoteAddress)}:${portOf(remotePort)}`;
}

function portOf(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/** The address as words of 32 bits in the machine's own order. */
function hexOf(address: string): string {
  const bytes = Buffer.from(address.includes(":") ? bytesOfIPv6(address) : bytesOfIPv4(address));
  if (endianness() === "LE") bytes.swap32();
  return bytes.toString("hex").toUpperCase();
}

function bytesOfIPv4(address: string): number[] {
  return address.split(".").map(Number);
}

/** An address as Node writes it: `::1`, `fe80::1%eth0`, `::ffff:192.0.2.1`. */
function bytesOfIPv6(address: string): number[] {
  const [plain = ""] = address.split("%", 1);
  const [head = "", tail] = plain.split("::", 2);
  const front = groupsOf(head);
  const back = groupsOf(tail ?? "");
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back];
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return bytesOfIPv4(group);
    const word = Number.parseInt(group, 16);
    return [word >> 8, word & 0xff];
  });
}
