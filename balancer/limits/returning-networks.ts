/** The networks from which a room token of this edge came lately: people with a session are there. Bounded memory. */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { copyOf } from "../../shared/base/ids.ts";

const KEPT_MS = 600_000;
/** So long after the last token another one need not be looked for. */
const FRESH_MS = 60_000;

export class ReturningNetworks {
  /** When a token came last, the longest ago first. */
  readonly #atMs: BoundedMap<string, number>;

  constructor(maxNetworks: number) {
    this.#atMs = new BoundedMap(maxNetworks);
  }

  get size(): number {
    return this.#atMs.size;
  }

  has(network: string, nowMs: number): boolean {
    return this.#isWithin(network, nowMs, KEPT_MS);
  }

  isFresh(network: string, nowMs: number): boolean {
    return this.#isWithin(network, nowMs, FRESH_MS);
  }

  #isWithin(network: string, nowMs: number, ageMs: number): boolean {
    const atMs = this.#atMs.get(network);
    return atMs !== undefined && nowMs - atMs < ageMs;
  }

  add(network: string, nowMs: number): void {
    this.#atMs.set(copyOf(network), nowMs);
  }

  prune(nowMs: number): void {
    for (const [network, atMs] of this.#atMs) {
      if (nowMs - atMs < KEPT_MS) return;
      this.#atMs.delete(network);
    }
  }
}
