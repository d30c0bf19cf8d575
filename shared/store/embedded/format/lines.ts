/**
 * Splits bytes into lines: the framing of the socket and of the journal (NDJSON, one JSON value per line).
 */

const LINE_FEED = 10;

export function createLineReader(maxLineBytes: number, onLine: (line: Buffer) => boolean) {
  let parts: Buffer[] = [];
  let partBytes = 0;

  function joinWith(lastPart: Buffer): Buffer {
    if (parts.length === 0) return lastPart;
    const line = Buffer.concat([...parts, lastPart]);
    parts = [];
    partBytes = 0;
    return line;
  }

  return {
    /**
     * Calls `onLine` for each complete line, without its line feed. Returns false when a line exceeds the limit or `onLine`
     * returned false; do not push more then.
     */
    push(chunk: Buffer): boolean {
      let start = 0;
      for (;;) {
        const end = chunk.indexOf(LINE_FEED, start);
        if (end === -1) break;
        if (partBytes + end - start > maxLineBytes) return false;
        if (!onLine(joinWith(chunk.subarray(start, end)))) return false;
        start = end + 1;
      }
      if (start < chunk.length) {
        parts.push(chunk.subarray(start));
        partBytes += chunk.length - start;
      }
      return partBytes <= maxLineBytes;
    },
    /** The bytes after the last line feed. */
    rest: (): Buffer => Buffer.concat(parts),
  };
}
