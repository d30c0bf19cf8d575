/** Sends what a process counts and measures to StatsD, each interval. */
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../logs/log.ts";
import type { Settings } from "../../settings/read-settings.ts";
import type { Scope } from "../metric.ts";
import type { Series } from "../metrics.ts";
import { createBatches, type Source } from "./batch.ts";
import type { Sink, SinkHealth } from "./sink.ts";

export interface Publisher {
  /** How it stands with the way to StatsD. */
  readonly health: SinkHealth;
  /** Sends once more what there is, and ends. */
  close(): Promise<void>;
}

export type PublisherSettings = Pick<
  Settings,
  | "metricsStatsdHost"
  | "metricsStatsdPort"
  | "metricsStatsdProtocol"
  | "metricsStatsdOptional"
  | "metricsStatsdTags"
  | "metricsPrefix"
  | "metricsIntervalMs"
>;

/** A connection that was lost is tried again at least so often. */
const MAX_RETRY_MS = 5000;

/** Undefined when no StatsD host is set. */
export function startPublisher(needs: {
  readonly settings: PublisherSettings;
  readonly source: Source;
  readonly scopes: readonly Scope[];
  /**
   * What is to be sent now. `sent` is called when it was, so that what was counted by others is not lost while there is no
   * way to StatsD. Rejects: nothing is sent of it this time.
   */
  readonly series: () => Promise<{
    readonly series: readonly Series[];
    readonly sent?: () => void;
  }>;
  readonly clock: Clock;
  readonly log: Log;
}): Publisher | undefined {
  const { settings, clock, log } = needs;
  if (settings.metricsStatsdHost === undefined) return undefined;
  const batches = createBatches({
    prefix: settings.metricsPrefix,
    tags: settings.metricsStatsdTags,
    source: needs.source,
    scopes: needs.scopes,
  });
  const to = {
    host: settings.metricsStatsdHost,
    port: settings.metricsStatsdPort,
    protocol: settings.metricsStatsdProtocol,
    isOptional: settings.metricsStatsdOptional,
    // Within an interval, so that the series are there again within two.
    maxRetryMs: Math.min(MAX_RETRY_MS, settings.metricsIntervalMs),
    clock,
    log,
    onBack: publishOnce,
  };
  // Loaded by those only who send.
  let opened: Sink | undefined;
  const opening = import("./sink.ts").then(({ openSink }) => {
    opened = openSink(to);
    return opened;
  });
  const toldRefused = new Set<string>();
  let publishing: Promise<void> | undefined;

  async function publish(): Promise<void> {
    try {
      const sink = await opening;
      const { series, sent } = await needs.series();
      const batch = batches.next(series);
      for (const name of batch.refused) reportOnce(name);
      if (!sink.send(batch.lines)) return;
      batch.commit();
      sent?.();
    } catch (error) {
      log.error({ err: error }, "metrics could not be published");
    }
  }

  /** A slow store must not make batches overtake each other. */
  function publishOnce(): void {
    publishing ??= publish().finally(() => {
      publishing = undefined;
    });
  }

  function reportOnce(name: string): void {
    if (toldRefused.has(name)) return;
    toldRefused.add(name);
    log.warn({ metric: name }, "a gauge has no sensible value and is not sent");
  }

  const timer = clock.every(settings.metricsIntervalMs, publishOnce);
  return {
    get health() {
      return opened?.health ?? { state: "sending" };
    },
    async close() {
      timer.cancel();
      await publishing;
      await publish();
      (await opening).close();
    },
  };
}
