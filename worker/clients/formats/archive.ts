/**
 * Reads single entries of untrusted zip archives. The number of entries and of bytes read is bounded, whatever the archive
 * claims. Nothing is written to disk.
 */
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import yauzl, { type Entry, type ZipFile } from "yauzl";
import { EdgeError } from "../../../shared/base/errors.ts";

/** The archive cannot be offered; the message tells the operator why. */
export class ArchiveError extends EdgeError {
  readonly code = "EDGE_ARCHIVE";
}

export interface Archive {
  /** The wanted entries by name (`normalizeName`), without directories and links. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Contents of an entry. Throws `ArchiveError` when it is missing, encrypted, corrupt or larger than `maxBytes`. */
  read(name: string, maxBytes: number): Promise<Buffer>;
  /**
   * Opens an archive within this one. A compressed one is read into memory, up to `maxBytes`. All inner archives together
   * have at most `MAX_INNER_ENTRIES` entries.
   */
  openInner(name: string, wants: Wants, maxBytes: number): Promise<Archive>;
}

/** Selects entries by name. */
export type Wants = (name: string) => boolean;

/** Extensions that bundle node_modules have some 20,000. */
const MAX_ENTRIES = 100_000;
/** Of all inner archives: stored ones may overlap, so that a small file contains very many (an attack). */
const MAX_INNER_ENTRIES = 300_000;
/** The central directory, whose names, comments and extra fields have up to 64 KiB each. */
const MAX_LIST_BYTES = 64 * 1024 ** 2;
/** Entries that are listed between two turns of the event loop. */
const ENTRIES_PER_TURN = 1000;
/** The largest known extensions unpack to 1 GiB. */
const MAX_UNPACKED_BYTES = 4 * 1024 ** 3;
/** Limit of the compression ratio above `FREE_UNPACKED_BYTES`; real files stay far below, deflate can reach 1032. */
const MAX_RATIO = 200;
const FREE_UNPACKED_BYTES = 256 * 1024 ** 2;
/** The list of entries is read in windows of this size, not field by field. */
const WINDOW_BYTES = 64 * 1024;

/** Opens the archive in a file, lists its entries, and closes it after `use`. Throws `ArchiveError`, or the system's error. */
export async function withArchive<T>(
  path: string,
  wants: Wants,
  use: (archive: Archive) => Promise<T>,
): Promise<T> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    return await use(await openSlice({ file, start: 0, bytes: size }, wants));
  } finally {
    await file.close().catch(() => {});
  }
}

interface Slice {
  readonly file: FileHandle;
  readonly start: number;
  readonly bytes: number;
}

async function openSlice(
  slice: Slice,
  wants: Wants,
  quota: Quota = { left: MAX_ENTRIES },
): Promise<Archive> {
  const reader = new SliceReader(slice);
  const zip = await asArchiveError(() =>
    yauzl.fromRandomAccessReaderPromise(reader, slice.bytes, OPTIONS),
  );
  const entries = await asArchiveError(() => listEntries(zip, slice.bytes, wants, quota));
  return archiveOf(zip, entries, slice);
}

const OPTIONS = { autoClose: false, lazyEntries: true, strictFileNames: false } as const;

function archiveOf(zip: ZipFile, entries: ReadonlyMap<string, Entry>, slice?: Slice): Archive {
  const find = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry === undefined) throw new ArchiveError(`${name} is missing`);
    if (entry.isEncrypted()) throw new ArchiveError("the archive is password-protected");
    if (!entry.canDecodeFileData()) {
      throw new ArchiveError(`${name} uses an unsupported compression method`);
    }
    return entry;
  };
  const innerQuota: Quota = { left: MAX_INNER_ENTRIES };
  const read = async (entry: Entry, maxBytes: number): Promise<Buffer> => {
    if (entry.uncompressedSize > maxBytes) {
      throw new ArchiveError(`${entry.fileName} is larger than ${maxBytes} bytes`);
    }
    return asArchiveError(() => readEntry(zip, entry));
  };

  return {
    entries,
    read: async (name, maxBytes) => read(find(name), maxBytes),
    async openInner(name, wants, maxBytes) {
      const entry = find(name);
      if (slice !== undefined && entry.compressionMethod === 0) {
        const header = await asArchiveError(() =>
          zip.readLocalFileHeaderPromise(entry, { minimal: true }),
        );
        const start = slice.start + header.fileDataStart;
        const inner = { file: slice.file, start, bytes: entry.uncompressedSize };
        return openSlice(inner, wants, innerQuota);
      }
      const bytes = await read(entry, maxBytes);
      const inner = await asArchiveError(() => yauzl.fromBufferPromise(bytes, OPTIONS));
      const innerEntries = await asArchiveError(() =>
        listEntries(inner, bytes.length, wants, innerQuota),
      );
      return archiveOf(inner, innerEntries);
    },
  };
}

/** Entries that may still be listed, in one archive or in several together. */
interface Quota {
  left: number;
}

async function listEntries(
  zip: ZipFile,
  archiveBytes: number,
  wants: Wants,
  quota: Quota,
): Promise<Map<string, Entry>> {
  if (zip.entryCount > Math.min(MAX_ENTRIES, quota.left)) {
    throw new ArchiveError(`the archive has ${zip.entryCount} entries, which are too many`);
  }
  quota.left -= zip.entryCount;
  const found = new Map<string, Entry>();
  const maxBytes = Math.max(FREE_UNPACKED_BYTES, archiveBytes * MAX_RATIO);
  let unpackedBytes = 0;
  let listBytes = 0;
  let listed = 0;
  for await (const entry of zip.eachEntry()) {
    unpackedBytes += entry.uncompressedSize;
    if (unpackedBytes > Math.min(maxBytes, MAX_UNPACKED_BYTES)) {
      throw new ArchiveError("its unpacked size is over the limit (zip bomb)");
    }
    listBytes += entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
    if (listBytes > MAX_LIST_BYTES) throw new ArchiveError("its list of entries is too large");
    // Most entries come from one buffered read, so the iteration alone does not yield to the event loop.
    if (++listed % ENTRIES_PER_TURN === 0) await setImmediate();
    const name = normalizeName(entry.fileName);
    // Readers disagree about duplicate names. The first counts here, for the facts as well as for the assets.
    if (isPlainFile(entry) && wants(name) && !found.has(name)) found.set(name, entry);
  }
  return found;
}

/** One spelling for equal names: `./a//b` and `a\\b` become `a/b`. */
export function normalizeName(name: string): string {
  // The fast path: nearly all names are normal, and archives have very many.
  if (!/\\|\/\/|^\/|(^|\/)\.(\/|$)/.test(name)) return name;
  return name
    .replaceAll("\\", "/")
    .split("/")
    .filter((part, index, parts) => part !== "." && (part !== "" || index === parts.length - 1))
    .join("/");
}

const UNIX = 3;
const FILE_TYPE = 0o170000;
const SYMBOLIC_LINK = 0o120000;

/** Neither a directory nor a symbolic link, and without control characters in its name. */
function isPlainFile({ fileName, versionMadeBy, externalFileAttributes }: Entry): boolean {
  const isLink =
    versionMadeBy >> 8 === UNIX && ((externalFileAttributes >>> 16) & FILE_TYPE) === SYMBOLIC_LINK;
  return !isLink && !/[\\/]$|\p{Cc}/u.test(fileName);
}

async function readEntry(zip: ZipFile, entry: Entry): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // The stream fails as soon as the data exceeds the declared size.
  for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (crc32(bytes) !== entry.crc32) {
    throw new ArchiveError(`${entry.fileName} is corrupt (checksum mismatch)`);
  }
  return bytes;
}

/** Converts errors of the zip library to `ArchiveError`; system errors are rethrown. */
async function asArchiveError<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code.startsWith("E") && !code.startsWith("ERR_")) throw error;
    throw new ArchiveError(`not a complete zip archive (${message})`, { cause: error });
  }
}

/** A slice of a file for the zip library: most reads are served from the last window. */
class SliceReader extends yauzl.RandomAccessReader {
  readonly #slice: Slice;
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(slice: Slice) {
    super();
    this.#slice = slice;
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#read(target, offset, length, position).then(
      () => callback(null),
      (error: unknown) => callback(error as Error),
    );
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(this.#chunks(start, end));
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }

  async #read(target: Buffer, offset: number, length: number, position: number): Promise<void> {
    const isInWindow = (): boolean =>
      position >= this.#windowStart && position + length <= this.#windowStart + this.#window.length;
    if (!isInWindow()) await this.#move(position, Math.max(length, WINDOW_BYTES));
    if (!isInWindow()) throw new ArchiveError("the file is truncated");
    const from = position - this.#windowStart;
    this.#window.copy(target, offset, from, from + length);
  }

  async #move(position: number, wanted: number): Promise<void> {
    const { file, start, bytes } = this.#slice;
    const length = Math.min(wanted, bytes - position);
    if (length <= 0) return;
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.allocUnsafe(length),
      position: start + position,
    });
    this.#window = buffer.subarray(0, bytesRead);
    this.#windowStart = position;
  }

  async *#chunks(start: number, end: number): AsyncGenerator<Buffer> {
    const { file, start: base } = this.#slice;
    for (let position = start; position < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, end - position));
      const { bytesRead } = await file.read({ buffer, position: base + position });
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }
}
