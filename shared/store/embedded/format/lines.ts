/**
 * Bytes to lines: the framing of the store's socket and of its journal (NDJSON, one JSON value and a line feed).
 */

const LINE_FEED = 10;

export interface LineReader {
  /**
   * Takes the next bytes and calls `onLine` for each line that is complete, without its line feed. Returns false as soon
   * as a line is longer than the limit or `onLine` has returned false; nothing more must be pushed then.
   */
  push(chunk: Buffer): boolean;
  /** The bytes after the last line feed. */
  rest(): Buffer;
}

export function createLineReader(
  maxLineBytes: number,
  onLine: (line: Buffer) => boolean,
): LineReader {
  let parts: Buffer[] = [];
  let partBytes = 0;

  function completed(lastPart: Buffer): Buffer {
    if (parts.length === 0) return lastPart;
    const line = Buffer.concat([...parts, lastPart]);
    parts = [];
    partBytes = 0;
    return line;
  }

  return {
    push(chunk) {
      let start = 0;
      for (;;) {
        const end = chunk.indexOf(LINE_FEED, start);
        if (end === -1) break;
        if (partBytes + end - start > maxLineBytes) return false;
        if (!onLine(completed(chunk.subarray(start, end)))) return false;
        start = end + 1;
      }
      if (start < chunk.length) {
        parts.push(chunk.subarray(start));
        partBytes += chunk.length - start;
      }
      return partBytes <= maxLineBytes;
    },
    rest: () => Buffer.concat(parts),
  };
}
