/**
 * Writes zip archives without compression, and without anything that depends on the machine or the time: the same entries
 * make the same bytes everywhere. Pure.
 */
import { crc32 } from "node:zlib";

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_OF_DIRECTORY = 0x06054b50;
/** Stored entries need no later version of the format (APPNOTE 4.4.3). */
const VERSION_NEEDED = 10;
/** 1 January 1980, the first date that MS-DOS time can express. */
const DATE = 0x21;

/** The archive, with its entries in the given order. `name`: ASCII, with `/` between folders. */
export function storedZip(
  entries: readonly { readonly name: string; readonly content: string }[],
): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content } of entries) {
    const data = Buffer.from(content);
    const shared = sharedFields(name, data);
    const file = Buffer.concat([fields(4, LOCAL_HEADER), shared, Buffer.from(name), data]);
    files.push(file);
    directory.push(centralHeader(shared, offset), Buffer.from(name));
    offset += file.length;
  }
  const list = Buffer.concat(directory);
  return Buffer.concat([...files, list, endOfDirectory(entries.length, list.length, offset)]);
}

/** All fields from the version to the extra field's length, which both headers of an entry share. */
function sharedFields(name: string, data: Buffer): Buffer {
  return Buffer.concat([
    fields(2, VERSION_NEEDED, 0, 0, 0, DATE),
    fields(4, crc32(data), data.length, data.length),
    fields(2, Buffer.byteLength(name), 0),
  ]);
}

function centralHeader(shared: Buffer, offset: number): Buffer {
  const start = [fields(4, CENTRAL_HEADER), fields(2, VERSION_NEEDED)];
  // Comment, disk and attributes stay zero.
  return Buffer.concat([...start, shared, fields(2, 0, 0, 0), fields(4, 0, offset)]);
}

function endOfDirectory(count: number, bytes: number, offset: number): Buffer {
  const counts = fields(2, 0, 0, count, count);
  return Buffer.concat([
    fields(4, END_OF_DIRECTORY),
    counts,
    fields(4, bytes, offset),
    fields(2, 0),
  ]);
}

function fields(size: 2 | 4, ...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(size * values.length);
  for (const [index, value] of values.entries()) bytes.writeUIntLE(value, index * size, size);
  return bytes;
}
