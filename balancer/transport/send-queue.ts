/**
 * The unacknowledged bytes in the kernel's send queue of a TCP connection. The kernel buffers megabytes and reports a
 * socket writable only when a third of that is free, so from here a slow reader looks for a minute and longer like one that
 * has stopped. On Linux /proc/net/tcp tells them apart; elsewhere the number is unknown.
 */
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";
import { getOrAdd } from "../../shared/base/grouping.ts";
import { addressBytes } from "../../shared/net/networks.ts";

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

/** After a read the next one waits for this many times as long as it took, so that reading takes a tenth of the time at most. */
const PAUSE_FACTOR = 10;

/**
 * Lookups share one read of the table: with 20,000 connections it is 3 MB. None gets a table that was read before it: a
 * stalled client is looked up several times, and must not seem to have stopped because the table is the same.
 */
export function createSendQueues(read: (path: string) => Promise<string> = readText): SendQueues {
  const readers = new Map<string, TableReader>();

  function readerOf(path: string): TableReader {
    return getOrAdd(readers, path, () => new TableReader(() => read(path)));
  }

  return {
    async bytesOf(ends) {
      const path = ends.localAddress.includes(":") ? "/proc/net/tcp6" : "/proc/net/tcp";
      const table = await readerOf(path).readNext();
      // The map has only connections with unacknowledged bytes.
      return table === undefined ? undefined : (table.get(keyOf(ends)) ?? 0);
    },
  };
}

class TableReader {
  readonly #read: () => Promise<string>;
  /** Resolves when the next read may begin. */
  #pause: Promise<void> = Promise.resolve();
  /** The next read, until it begins. */
  #next: Promise<Table | undefined> | undefined;

  constructor(read: () => Promise<string>) {
    this.#read = read;
  }

  /** The table of a read that begins after this call; undefined when it fails. */
  readNext(): Promise<Table | undefined> {
    this.#next ??= this.#readAfterPause();
    return this.#next;
  }

  async #readAfterPause(): Promise<Table | undefined> {
    await this.#pause;
    this.#next = undefined;
    const startedMs = performance.now();
    const reading = this.#read().then(parseTable, () => undefined);
    this.#pause = reading.then(() => {
      const pauseMs = PAUSE_FACTOR * (performance.now() - startedMs);
      return new Promise((resolve) => void setTimeout(resolve, pauseMs).unref());
    });
    return reading;
  }
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
  const bytes = Buffer.from(addressBytes(address));
  if (endianness() === "LE") bytes.swap32();
  return bytes.toString("hex").toUpperCase();
}
