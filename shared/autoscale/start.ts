/** Starts what each process does for autoscaling: watches the demand, shows it as a metric and on the status port. */
import type { Clock } from "../base/clock.ts";
import type { Counters } from "../metrics/metrics.ts";
import type { StatusPage } from "../process/status-port.ts";
import type { Slice } from "../settings/read-settings.ts";
import type { MemberRecord, WorkerRecord } from "../store/member.ts";
import { autoscalePage } from "./autoscale-page.ts";
import { type ScalingSettings, watchDemand } from "./watch.ts";

export const AUTOSCALE_SETTINGS = [
  "autoscaleSessions",
  "autoscaleConnections",
  "autoscaleCpuPercent",
  "autoscaleLagMs",
  "autoscaleHeadroomPercent",
  "autoscaleUpMs",
  "autoscaleDownMs",
  "autoscaleToken",
] as const;
export type AutoscaleSettings = Slice<typeof AUTOSCALE_SETTINGS>;

export interface Autoscale {
  readonly page: StatusPage;
  /** For the record of this process. */
  readonly wanted: () => number | undefined;
  close(): void;
}

export function startAutoscale(deps: {
  readonly settings: AutoscaleSettings;
  readonly clock: Clock;
  readonly counters: Pick<Counters, "gauge">;
  readonly workers: () => readonly WorkerRecord[];
  readonly balancers: () => readonly MemberRecord[];
  /** Why the records are not the present ones; undefined when they are. */
  readonly unknownBecause: () => string | undefined;
}): Autoscale {
  const watch = watchDemand({ ...deps, settings: inUnits(deps.settings) });
  deps.counters.gauge("process.workers_wanted", () => watch.state.wish?.wanted);
  const page = autoscalePage(() => watch.state, deps.settings.autoscaleToken);
  return { page, wanted: () => watch.own, close: () => watch.close() };
}

function inUnits(settings: AutoscaleSettings): ScalingSettings {
  return {
    sessions: settings.autoscaleSessions,
    connections: settings.autoscaleConnections,
    cpu: settings.autoscaleCpuPercent / 100,
    lagMs: settings.autoscaleLagMs,
    headroom: settings.autoscaleHeadroomPercent / 100,
    upMs: settings.autoscaleUpMs,
    downMs: settings.autoscaleDownMs,
  };
}
