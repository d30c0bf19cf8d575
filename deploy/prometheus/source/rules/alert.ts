/** What an alert consists of. All alerts: alerts.ts. */

/** `critical`: people are affected now. `warning`: somebody should look today. `info`: explains what people may notice. */
export type Severity = "critical" | "warning" | "info";

export interface Alert {
  /** Without the prefix that all alerts share. */
  readonly name: string;
  readonly severity: Severity;
  readonly expr: string;
  /** How long the condition holds before the alert fires, such as `20s`. */
  readonly for: string;
  /** One line; `{{ $labels.NAME }}` is the only template. */
  readonly summary: string;
  /** What is wrong, and the first thing to do. */
  readonly description: string;
  /** The section of docs/operators/alerts.md: Markdown, one paragraph or list item per entry. */
  readonly runbook: readonly string[];
  readonly fires: FiringCase;
  readonly staysQuiet: Case;
}

/** Input of `promtool test rules`, with a sample every 5 s. */
export interface Case {
  readonly series: readonly Samples[];
  /** When the alert is looked at, since the first sample; default `2m`. */
  readonly at?: string;
}

export interface FiringCase extends Case {
  /** The labels of the alert that fires, besides `alertname` and `severity`. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface Samples {
  readonly series: string;
  /** In promtool's notation: `1x5` is the value 1 followed by five more, `0+3x5` rises by 3 five times. */
  readonly values: string;
}

export const ALERT_PREFIX = "CodeTogether";

export function alertName({ name }: Pick<Alert, "name">): string {
  return ALERT_PREFIX + name;
}

export function samples(series: string, values: string): Samples {
  return { series, values };
}

/** A series of one worker, for the tests of a rule. `labels`: further ones, `,cause="handed"`. */
export function ofOneWorker(name: string, labels = ""): string {
  return `${name}{job="codetogether-worker",instance="worker-1"${labels}}`;
}
