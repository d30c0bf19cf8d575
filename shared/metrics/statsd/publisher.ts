/** Sends the metrics of a process to StatsD, once per interval. */
import type { Clock } from "../../base/clock.ts";
import { startPeriodicTask } from "../../base/periodic-task.ts";
import type { Log } from "../../logs/log.ts";
import type { Slice } from "../../settings/read-settings.ts";
import type { Scope } from "../metric.ts";
import type { Series } from "../metrics.ts";
import { createBatches, type Source } from "./batch.ts";
import type { Sink, SinkHealth } from "./sink.ts";

export type Publisher = NonNullable<ReturnType<typeof startPublisher>>;

export const PUBLISHER_SETTINGS = [
  "metricsStatsdHost",
  "metricsStatsdPort",
  "metricsStatsdProtocol",
  "metricsStatsdOptional",
  "metricsStatsdTags",
  "metricsPrefix",
  "metricsIntervalMs",
] as const;
export type PublisherSettings = Slice<typeof PUBLISHER_SETTINGS>;

/** Longest wait before a lost connection is retried. */
const MAX_RETRY_MS = 5000;

export function startPublisher(deps: {
  readonly settings: PublisherSettings;
  readonly source: Source;
  readonly scopes: readonly Scope[];
  /**
   * The series to send. `sent` is called after they were sent, so that counts from other processes are not lost while StatsD
   * cannot be reached. If it rejects, nothing is sent in this interval.
   */
  readonly series: () => Promise<{
    readonly series: readonly Series[];
    readonly sent?: () => void;
  }>;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { settings, clock, log } = deps;
  if (settings.metricsStatsdHost === undefined) return undefined;
  const batches = createBatches({
    prefix: settings.metricsPrefix,
    tags: settings.metricsStatsdTags,
    source: deps.source,
    scopes: deps.scopes,
  });
  const target = {
    host: settings.metricsStatsdHost,
    port: settings.metricsStatsdPort,
    protocol: settings.metricsStatsdProtocol,
    isOptional: settings.metricsStatsdOptional,
    // At most an interval, so that all series arrive within two intervals of a reconnect.
    maxRetryMs: Math.min(MAX_RETRY_MS, settings.metricsIntervalMs),
    clock,
    log,
    onReconnect: () => void publishing.run(),
  };
  // Loaded only in processes that send.
  let opened: Sink | undefined;
  const opening = import("./sink.ts").then(({ openSink }) => {
    opened = openSink(target);
    return opened;
  });
  const reportedGauges = new Set<string>();

  async function publish(): Promise<void> {
    const sink = await opening;
    const { series, sent } = await deps.series();
    const batch = batches.next(series);
    for (const name of batch.invalid) reportOnce(name);
    if (!sink.send(batch.lines)) return;
    batch.commit();
    sent?.();
  }

  function reportOnce(name: string): void {
    if (reportedGauges.has(name)) return;
    reportedGauges.add(name);
    log.warn({ metric: name }, "a gauge is not sent because its value is negative or not finite");
  }

  // One at a time: with a slow store batches could otherwise overtake each other.
  const publishing = startPeriodicTask({
    clock,
    periodMs: settings.metricsIntervalMs,
    work: publish,
    onError: (err) => log.error({ err }, "metrics could not be published"),
  });
  return {
    get health(): SinkHealth {
      return opened?.health ?? { state: "sending" };
    },
    /** Sends the metrics one last time and closes the connection. */
    async close(): Promise<void> {
      publishing.close();
      await publishing.settled();
      await publishing.run();
      (await opening).close();
    },
  };
}
