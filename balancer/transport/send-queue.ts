/**
 * The unacknowledged bytes in the kernel's send queue of a TCP connection. The kernel buffers megabytes and reports a
 * socket writable only when a third of that is free, so from here a slow reader looks for a minute and longer like one that
 * has stopped. On Linux /proc/net/tcp tells them apart; elsewhere the number is unknown.
 */
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";

/** Both ends of a connection, as `node:net` writes them. */
export interface Ends {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface SendQueues {
  /** Bytes handed to the kernel and not acknowledged; undefined where the table cannot be read. Never rejects. */
  bytesOf(ends: Ends): Promise<number | undefined>;
}

type Table = ReadonlyMap<string, number>;

/** A table is cached for this many times as long as reading it took, so that reading takes a tenth of the time at most. */
const CACHE_FACTOR = 10;

/** Lookups at about the same time share one read of the table: with 20,000 connections it is 3 MB. */
export function createSendQueues(read: (path: string) => Promise<string> = readText): SendQueues {
  const cached = new Map<string, Promise<Table | undefined>>();

  function tableOf(path: string): Promise<Table | undefined> {
    const current = cached.get(path);
    if (current !== undefined) return current;
    const startedMs = performance.now();
    const table = read(path)
      .then(parseTable, () => undefined)
      .finally(() => {
        const cacheMs = CACHE_FACTOR * (performance.now() - startedMs);
        setTimeout(() => cached.delete(path), cacheMs).unref();
      });
    cached.set(path, table);
    return table;
  }

  return {
    async bytesOf(ends) {
      const path = ends.localAddress.includes(":") ? "/proc/net/tcp6" : "/proc/net/tcp";
      const table = await tableOf(path);
      // The map has only connections with unacknowledged bytes.
      return table === undefined ? undefined : (table.get(keyOf(ends)) ?? 0);
    },
  };
}

function readText(path: string): Promise<string> {
  return readFile(path, "latin1");
}

// --- the table (pure) ---

/** `  12: 0100007F:0438 0100007F:D2C4 01 00281000:00000000 …`: both ends, the state, the send queue in hexadecimal. */
const LINE = /^\s*\d+: ([0-9A-F]+:[0-9A-F]{4} [0-9A-F]+:[0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/gm;

/** The send queue of each connection by `keyOf`; empty ones are left out. */
export function parseTable(text: string): Table {
  const table = new Map<string, number>();
  for (const [, key, queue] of text.matchAll(LINE)) {
    const bytes = Number.parseInt(queue ?? "", 16);
    if (key !== undefined && bytes > 0) table.set(key, bytes);
  }
  return table;
}

/** A connection as the table writes it. */
export function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Ends): string {
  return `${hexOf(localAddress)}:${portOf(localPort)} ${hexOf(remoteAddress)}:${portOf(remotePort)}`;
}

function portOf(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/** The address as 32-bit words in the machine's byte order. */
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
