/** The networks from which a room token of this edge came lately: people with a session are there. Bounded memory. */
import { copyOf } from "../../shared/base/ids.ts";

const KEPT_MS = 600_000;
/** So long after the last token another one need not be looked for. */
const FRESH_MS = 60_000;

export class ReturningNetworks {
  readonly #maxNetworks: number;
  /** When a token came last, the longest ago first. */
  readonly #atMs = new Map<string, number>();

  constructor(maxNetworks: number) {
    this.#maxNetworks = maxNetworks;
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
    if (!this.#atMs.delete(network) && this.#atMs.size >= this.#maxNetworks) {
      const [oldest] = this.#atMs.keys();
      if (oldest !== undefined) this.#atMs.delete(oldest);
    }
    this.#atMs.set(copyOf(network), nowMs);
  }

  prune(nowMs: number): void {
    for (const [network, atMs] of this.#atMs) {
      if (nowMs - atMs < KEPT_MS) return;
      this.#atMs.delete(network);
    }
  }
}
