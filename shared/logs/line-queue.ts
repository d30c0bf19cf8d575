/** Lines that wait to be written to a file, and are taken in batches. */

/** Most UTF-8 bytes per UTF-16 unit. */
const MAX_BYTES_PER_CHAR = 3;

export class LineQueue {
  /** A failed write may have left a partial line, so the next batch starts with a line feed. */
  isTorn = false;
  #lines: string[] = [];
  #chars = 0;

  get lines(): number {
    return this.#lines.length;
  }

  get chars(): number {
    return this.#chars;
  }

  get first(): string {
    return this.#lines[0] ?? "";
  }

  push(line: string): void {
    this.#lines.push(line);
    this.#chars += line.length;
  }

  clear(): void {
    this.#lines = [];
    this.#chars = 0;
  }

  /** Removes the next lines: as many as fit into `maxBytes`, but at least one. */
  takeBatch(maxBytes: number): { bytes: Buffer; chars: number; lines: number } {
    const start = this.isTorn ? "\n" : "";
    const lines = this.#countFitting(maxBytes, start.length);
    const text = this.#lines.slice(0, lines).join("");
    this.#lines = this.#lines.slice(lines);
    this.#chars -= text.length;
    this.isTorn = false;
    return { bytes: Buffer.from(start + text), chars: text.length, lines };
  }

  #countFitting(maxBytes: number, startBytes: number): number {
    if (this.#chars * MAX_BYTES_PER_CHAR + startBytes <= maxBytes) return this.#lines.length;
    let bytes = startBytes;
    let lines = 0;
    for (const line of this.#lines) {
      bytes += Buffer.byteLength(line);
      if (lines > 0 && bytes > maxBytes) break;
      lines++;
    }
    return lines;
  }
}
