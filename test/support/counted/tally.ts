/**
 * Counts what one receiver gets of one sender, whose messages are numbered from 0. A message that arrives after a later one
 * counts as reordered, each further arrival of the same number as doubled.
 */
export class Tally {
  doubled = 0;
  reordered = 0;
  /** After the highest number that has arrived. */
  #next = 0;
  readonly #missing = new Set<number>();

  add(number: number): void {
    if (number >= this.#next) {
      for (let skipped = this.#next; skipped < number; skipped++) this.#missing.add(skipped);
      this.#next = number + 1;
    } else if (this.#missing.delete(number)) {
      this.reordered++;
    } else {
      this.doubled++;
    }
  }

  /** How many of the first `sent` messages have not arrived. */
  missingOf(sent: number): number {
    return this.#missing.size + Math.max(0, sent - this.#next);
  }

  /** Their numbers. */
  missing(sent: number): number[] {
    const unheard = Array.from(
      { length: Math.max(0, sent - this.#next) },
      (_, i) => this.#next + i,
    );
    return [...this.#missing, ...unheard];
  }
}
