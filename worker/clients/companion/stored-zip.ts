/**
 * Writes zip archives without compression, and without anything that depends on the machine or the time: the same entries
 * make the same bytes everywhere. Pure.
 */
import { crc32 } from "node:zlib";

export interface ZipEntry {
  /** ASCII, with `/` between folders. */
  readonly name: string;
  readonly content: string;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_OF_DIRECTORY = 0x06054b50;
/** Stored entries need no later version of the format (APPNOTE 4.4.3). */
const VERSION_NEEDED = 10;
/** 1 January 1980, the first date that MS-DOS time can express. */
const DATE = 0x21;
/** All fields from the version to the extra field's length, which both headers of an entry share. */
const SHARED_BYTES = 26;

/** The archive, with its entries in the given order. */
export function storedZip(entries: readonly ZipEntry[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content } of entries) {
    const data = Buffer.from(content);
    const shared = sharedFields(name, data);
    const file = Buffer.concat([uint32(LOCAL_HEADER), shared, Buffer.from(name), data]);
    files.push(file);
    directory.push(centralHeader(shared, offset), Buffer.from(name));
    offset += file.length;
  }
  const list = Buffer.concat(directory);
  return Buffer.concat([...files, list, endOfDirectory(entries.length, list.length, offset)]);
}

function sharedFields(name: string, data: Buffer): Buffer {
  const fields = Buffer.alloc(SHARED_BYTES);
  fields.writeUInt16LE(VERSION_NEEDED, 0);
  fields.writeUInt16LE(DATE, 8);
  fields.writeUInt32LE(crc32(data), 10);
  fields.writeUInt32LE(data.length, 14);
  fields.writeUInt32LE(data.length, 18);
  fields.writeUInt16LE(Buffer.byteLength(name), 22);
  return fields;
}

function centralHeader(shared: Buffer, offset: number): Buffer {
  const start = Buffer.alloc(6);
  start.writeUInt32LE(CENTRAL_HEADER, 0);
  start.writeUInt16LE(VERSION_NEEDED, 4);
  // Comment, disk and attributes stay zero.
  const end = Buffer.alloc(14);
  end.writeUInt32LE(offset, 10);
  return Buffer.concat([start, shared, end]);
}

function endOfDirectory(count: number, bytes: number, offset: number): Buffer {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END_OF_DIRECTORY, 0);
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(bytes, 12);
  end.writeUInt32LE(offset, 16);
  return end;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
