/**
 * What no worker has sent to StatsD yet of each of the cluster's totals. Marks in the store say how much was sent, so that
 * another leader continues there.
 */
import type { Log } from "../../shared/logs/log.ts";
import type { MetricName } from "../../shared/metrics/metric-list.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import type { Store } from "../../shared/store/store.ts";

/** The value of one of the store's counters, and the metric that it is sent as. */
export interface StoreTotal {
  readonly name: MetricName;
  readonly tag: string;
  readonly counter: string;
  readonly total: number;
}

interface Unsent extends StoreTotal {
  /** How much workers have sent, as the store says. */
  readonly mark: number;
  /** What this process has sent since its start, and what is to be sent now. */
  readonly count: number;
}

interface UnsentDeps {
  readonly readMarks: Store["readCounters"];
  /** At once: what is not marked as sent, another leader sends again. */
  readonly raiseMarks: Store["addToCounters"];
  readonly log: Log;
}

/** Prefix of the counters that are the marks. */
const SENT_PREFIX = "metrics.sent.";

export class UnsentTotals {
  readonly #deps: UnsentDeps;
  /** What this process has sent of each total since its start, and up to which value. */
  readonly #sentByCounter = new Map<string, { readonly count: number; readonly upTo: number }>();

  constructor(deps: UnsentDeps) {
    this.#deps = deps;
  }

  /** Counters to send; call `sent` when they were sent. Rejects with `StoreAwayError`. */
  async count(totals: readonly StoreTotal[]): Promise<{ series: Series[]; sent: () => void }> {
    const marks = await this.#deps.readMarks(SENT_PREFIX);
    const unsent = totals.map((one) => this.#compare(one, marks[SENT_PREFIX + one.counter] ?? 0));
    return {
      series: unsent.map(({ name, tag, count }) => ({ name, tag, kind: "counter", value: count })),
      sent: () => this.#raiseMarks(unsent),
    };
  }

  #compare({ name, tag, counter, total }: StoreTotal, mark: number): Unsent {
    const before = this.#sentByCounter.get(counter) ?? { count: 0, upTo: 0 };
    // A store that was flushed counts from 0 again.
    const from = total < before.upTo ? mark : Math.max(mark, before.upTo);
    return { name, tag, counter, total, mark, count: before.count + Math.max(0, total - from) };
  }

  #raiseMarks(unsent: readonly Unsent[]): void {
    const raises: Record<string, number> = {};
    for (const { counter, total, mark, count } of unsent) {
      this.#sentByCounter.set(counter, { count, upTo: total });
      if (total > mark) raises[SENT_PREFIX + counter] = total - mark;
    }
    if (Object.keys(raises).length === 0) return;
    // If the store is away, the next call raises the marks; another leader meanwhile would send this part again.
    this.#deps.raiseMarks(raises).catch((error: unknown) => {
      this.#deps.log.debug(
        { err: error },
        "the marks of what was sent of the totals could not be written",
      );
    });
  }
}
