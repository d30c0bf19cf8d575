/** A real Prometheus with the rules of deploy/prometheus, and a watch on its alerts. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetch } from "undici";
import { stringify } from "yaml";
import { freePort } from "../../../test/support/ports.ts";
import { until } from "../../../test/support/until.ts";

export interface Target {
  readonly job: "codetogether-balancer" | "codetogether-worker";
  readonly instance: string;
  readonly statusPort: number;
}

export interface Prometheus {
  readonly version: string;
  /** Names of the alerts that fire now. */
  firing(): Promise<ReadonlySet<string>>;
  /** The number of series that `expr` selects now. Throws with Prometheus's error for an invalid one. */
  count(expr: string): Promise<number>;
  /** Number of targets that it could scrape the last time. */
  targetsUp(): Promise<number>;
  close(): Promise<void>;
}

const FOLDER = fileURLToPath(new URL("../../../deploy/prometheus/", import.meta.url));

/** Throws with promtool's output if it does not accept the rules, or if one of their tests fails. */
export function checkRules(): void {
  for (const args of [
    ["check", "rules", "rules.yaml"],
    ["test", "rules", "rules.test.yaml"],
  ]) {
    const { status, stdout, stderr } = spawnSync("promtool", args, {
      cwd: FOLDER,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`promtool ${args.join(" ")}: ${stdout}${stderr}`);
  }
}

/** Starts it on loopback with its data in `folder`; `scrape` is the interval, such as `5s`. */
export async function startPrometheus(
  targets: readonly Target[],
  { folder, scrape }: { readonly folder: string; readonly scrape: string },
): Promise<Prometheus> {
  const port = await freePort();
  const config = join(folder, "prometheus.yml");
  const data = join(folder, "prometheus");
  mkdirSync(data);
  writeFileSync(config, stringify(configOf(targets, scrape)));
  const child = spawn(
    "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  const url = `http://127.0.0.1:${port}`;
  await until("Prometheus is ready", async () => (await fetch(`${url}/-/ready`)).ok, 60_000);
  return {
    version: versionOf(),
    async firing() {
      const { alerts } = (await read(`${url}/api/v1/alerts`)) as { alerts: readonly ApiAlert[] };
      const firing = alerts.filter(({ state }) => state === "firing");
      return new Set(firing.map(({ labels }) => labels["alertname"] ?? ""));
    },
    count: async (expr) => (await query(url, expr)).length,
    async targetsUp() {
      const [sum] = await query(url, "sum(up)");
      return Number(sum?.value[1] ?? 0);
    },
    close: () => end(child),
  };
}

interface ApiAlert {
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
}

async function query(
  url: string,
  expr: string,
): Promise<readonly { readonly value: readonly [atS: number, value: string] }[]> {
  const { result } = (await read(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`)) as {
    result: readonly { value: [number, string] }[];
  };
  return result;
}

async function read(url: string): Promise<unknown> {
  const { data, error } = (await (await fetch(url)).json()) as { data: unknown; error?: string };
  if (error !== undefined) throw new Error(`${url}: ${error}`);
  return data;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

function configOf(targets: readonly Target[], scrape: string): object {
  const jobs = [...new Set(targets.map(({ job }) => job))];
  return {
    global: { scrape_interval: scrape, scrape_timeout: "5s" },
    rule_files: [join(FOLDER, "rules.yaml")],
    scrape_configs: jobs.map((job) => ({
      job_name: job,
      static_configs: targets
        .filter((target) => target.job === job)
        .map(({ instance, statusPort }) => ({
          targets: [`127.0.0.1:${statusPort}`],
          labels: { instance },
        })),
    })),
  };
}

function versionOf(): string {
  const { stdout } = spawnSync("prometheus", ["--version"], { encoding: "utf8" });
  return /version (\S+)/.exec(stdout)?.[1] ?? "unknown";
}

// --- watching ---

/** A time in which an alert fired, on `performance.now()`. */
export interface Firing {
  readonly alert: string;
  readonly sinceMs: number;
  untilMs: number | undefined;
}

export interface AlertWatch {
  readonly firings: readonly Firing[];
  fires(alert: string): boolean;
  close(): void;
}

const PERIOD_MS = 500;

/** Follows which alerts fire; times are up to half a second late. */
export function watchAlerts(prometheus: Pick<Prometheus, "firing">): AlertWatch {
  const firings: Firing[] = [];
  const open = new Map<string, Firing>();
  let isReading = false;

  async function look(): Promise<void> {
    const firing = await prometheus.firing();
    const nowMs = performance.now();
    for (const alert of firing) {
      if (open.has(alert)) continue;
      const begun: Firing = { alert, sinceMs: nowMs, untilMs: undefined };
      open.set(alert, begun);
      firings.push(begun);
    }
    for (const [alert, begun] of open) {
      if (firing.has(alert)) continue;
      begun.untilMs = nowMs;
      open.delete(alert);
    }
  }

  const timer = setInterval(() => {
    if (isReading) return;
    isReading = true;
    // A busy Prometheus is asked again.
    look().then(
      () => {
        isReading = false;
      },
      () => {
        isReading = false;
      },
    );
  }, PERIOD_MS);
  return { firings, fires: (alert) => open.has(alert), close: () => clearInterval(timer) };
}
