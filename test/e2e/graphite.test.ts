/**
 * What operators see in Graphite: a real edge, hot-shots, StatsD, carbon, whisper and the render API of graphite-web. Plus
 * the dashboards and settings of deploy/graphite.
 */

import { readFileSync } from "node:fs";
import { fetch } from "undici";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import { METRICS } from "../../shared/metrics/metric-list.ts";
import { localName } from "../../shared/metrics/metric-names.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { startPublisher } from "../../shared/metrics/statsd/publisher.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { hasProgram } from "../support/debian.ts";
import { FLUSH_MS, type Graphite, startGraphite, statsdSettings } from "../support/graphite.ts";
import { silentLog } from "../support/logs.ts";
import { EXPECTED, play } from "../support/metrics-workload.ts";
import { WORKER_DEFAULTS } from "../support/settings.ts";
import { until } from "../support/until.ts";

const INTERVAL_MS = 1000;
const GAUGES = "stats.gauges.codetogether";
const COUNTERS = "stats.counters.codetogether";

interface Panel {
  readonly title: string;
  readonly targets: readonly string[];
}

describe("deploy/graphite", () => {
  test("StatsD's settings match the dashboards: same names, stale series dropped, flushed as often as Graphite stores", () => {
    const settings = statsdSettings();
    expect(settings).toMatchObject({
      graphite: { legacyNamespace: false },
      deleteGauges: true,
      flushInterval: 10_000,
    });
    expect(readDeployed("storage-schemas.conf")).toContain("retentions = 10s:");
  });

  test("Graphite sums counts and keeps the last value of gauges when it aggregates", () => {
    const rules = [
      ...readDeployed("storage-aggregation.conf").matchAll(
        /pattern = (.*)\nxFilesFactor = 0\naggregationMethod = (.*)/g,
      ),
    ].map(([, pattern = "", method]) => [new RegExp(pattern), method] as const);
    const methodOf = (name: string) => rules.find(([pattern]) => pattern.test(name))?.[1];
    expect(methodOf(`${COUNTERS}.sessions.hosted.count`)).toBe("sum");
    expect(methodOf(`${COUNTERS}.sessions.hosted.rate`)).toBe("average");
    expect(methodOf(`${GAUGES}.users.online`)).toBe("last");
    expect(methodOf(`${GAUGES}.sessions.hosted_total`)).toBe("max");
  });

  test("both dashboards show the same metrics, and all of them exist", () => {
    expect(grafanaPanels()).toEqual(graphitePanels());
    const known = new Set(
      Object.keys(METRICS).map((name) => localName(name as keyof typeof METRICS)),
    );
    const shown = graphitePanels().flatMap(({ targets }) => targets.flatMap(metricsIn));
    expect(shown.length).toBeGreaterThan(15);
    for (const name of shown) expect([...known], name).toContain(name);
    for (const name of [
      "users.online",
      "sessions.active",
      "connections.active",
      "lag.average",
      "sessions.hosted_total",
      "downloads_total",
    ]) {
      expect(shown).toContain(name);
    }
  });
});

const canRun = hasProgram(
  "carbon-cache",
  ["graphite-carbon", "graphite-web"],
  "the chain from the edge to Graphite's render API",
);
if (canRun) {
  describe("the chain to Graphite", () => {
    let graphite: Graphite;
    let cluster: Cluster;

    beforeAll(async () => {
      graphite = await startGraphite();
      cluster = await startCluster({
        workers: 2,
        balancers: 2,
        env: {
          CT_METRICS_STATSD_HOST: "127.0.0.1",
          CT_METRICS_STATSD_PORT: String(graphite.port),
          CT_METRICS_INTERVAL_MS: String(INTERVAL_MS),
        },
      });
    }, 180_000);

    test("a scripted workload appears exactly, and as 0 after everyone has left", async () => {
      const workload = await play(cluster.balancers.map(({ url }) => url));
      await until(
        "Graphite shows everybody",
        async () => {
          const now = await lastOf(graphite, [
            "users.online",
            "sessions.active",
            "connections.active",
          ]);
          return now.join() === [EXPECTED.users, EXPECTED.sessions, EXPECTED.connections].join();
        },
        60_000,
      );
      await until("Graphite shows the total", async () => {
        return (await lastOf(graphite, ["sessions.hosted_total"]))[0] === EXPECTED.hosted;
      });
      // Carbon creates a file for each series, asynchronously.
      const countHosted = async () =>
        (await graphite.render(`${COUNTERS}.sessions.hosted.count`, 300))
          .flatMap(({ points }) => points)
          .reduce((sum, [value]) => sum + value, 0);
      const isCounted = async () => (await countHosted()) === EXPECTED.hosted;
      await until("Graphite shows each session's start", isCounted);
      await until("Graphite shows the connections of each worker", async () => {
        const each = await graphite.render(`${GAUGES}.worker.*.connections.active`, 60);
        const now = each.reduce((sum, { points }) => sum + (points.at(-1)?.[0] ?? 0), 0);
        return now === EXPECTED.connections;
      });
      await until("Graphite shows the lag", async () => {
        const [lagMs] = await lastOf(graphite, ["lag.average"]);
        return lagMs !== undefined && lagMs >= 0;
      });

      await workload.leave();
      const leftS = Date.now() / 1000;
      await until(
        "Graphite shows nobody",
        async () => {
          const now = await lastOf(graphite, [
            "users.online",
            "sessions.active",
            "connections.active",
          ]);
          return now.join() === "0,0,0";
        },
        60_000,
      );
      expect(await countHosted()).toBe(EXPECTED.hosted);
      // Within two intervals, plus StatsD's flush interval of a second.
      const online = (await graphite.render(`${GAUGES}.users.online`, 120))[0]?.points ?? [];
      const stillOnline = online.filter(([value, atS]) => value > 0 && atS > leftS);
      expect(stillOnline.length).toBeLessThanOrEqual((2 * INTERVAL_MS + FLUSH_MS) / FLUSH_MS);
    });

    test("Graphite loads the dashboard, and each of its graphs has a line", async () => {
      const state = readDeployed("graphite-dashboard.json");
      const saved = await fetch(`${graphite.url}/dashboard/save/CodeTogether`, {
        method: "POST",
        body: new URLSearchParams({ state }).toString(),
        headers: { "content-type": "application/x-www-form-urlencoded" },
      });
      expect(await saved.json()).toEqual({ success: true });
      const loaded = await fetch(`${graphite.url}/dashboard/load/CodeTogether`);
      expect(await loaded.json()).toEqual({ state: JSON.parse(state) as unknown });
      for (const { title, targets } of graphitePanels()) {
        for (const target of targets) {
          await until(`${title} has a line: ${target}`, async () =>
            (await graphite.render(target, 120)).some(({ points }) => points.length > 0),
          );
        }
      }
    });

    test("all metrics arrive at Graphite over TCP as they were sent", async () => {
      const counters = createCounters();
      counters.gauge("worker.sessions.active", () => 7);
      counters.gauge("process.elu", () => 0.25);
      counters.count("worker.sessions_created", "", 5);
      const publisher = startPublisher({
        settings: {
          ...WORKER_DEFAULTS,
          metricsStatsdHost: "127.0.0.1",
          metricsStatsdPort: graphite.port,
          metricsStatsdProtocol: "tcp",
          metricsPrefix: "over.tcp",
          metricsIntervalMs: INTERVAL_MS,
        },
        source: { role: "worker", id: "host.1 a:b|c" },
        scopes: ["worker", "process"],
        series: async () => ({ series: counters.series() }),
        clock: systemClock,
        log: silentLog(),
      });
      onTestFinished(() => publisher?.close());
      const own = "over.tcp.worker.host_1_a_b_c";
      await until(
        "it arrived",
        async () => {
          const [sessions] = await graphite.render(`stats.gauges.${own}.sessions.active`, 60);
          const [elu] = await graphite.render(`stats.gauges.${own}.elu`, 60);
          return sessions?.points.at(-1)?.[0] === 7 && elu?.points.at(-1)?.[0] === 0.25;
        },
        60_000,
      );
      await until("the count arrived, once", async () => {
        const [created] = await graphite.render(`stats.counters.${own}.sessions_created.count`, 60);
        return created?.points.reduce((sum, [value]) => sum + value, 0) === 5;
      });
    });
  });
}

async function lastOf(
  graphite: Graphite,
  names: readonly string[],
): Promise<(number | undefined)[]> {
  return Promise.all(
    names.map(async (name) => {
      const [series] = await graphite.render(`${GAUGES}.${name}`, 60);
      return series?.points.at(-1)?.[0];
    }),
  );
}

// --- files of deploy/graphite ---

function readDeployed(name: string): string {
  return readFileSync(new URL(`../../deploy/graphite/${name}`, import.meta.url), "utf8");
}

function graphitePanels(): Panel[] {
  const { graphs } = JSON.parse(readDeployed("graphite-dashboard.json")) as {
    graphs: [string, { title: string; target: string[] }, string][];
  };
  return graphs.map(([query, { title, target }]) => {
    expect(query).toBe(target.map((one) => `target=${one}`).join("&"));
    return { title, targets: target };
  });
}

function grafanaPanels(): Panel[] {
  const { panels } = JSON.parse(readDeployed("grafana-dashboard.json")) as {
    panels: { title: string; targets: { target: string }[] }[];
  };
  return panels.map(({ title, targets }) => ({
    title,
    targets: targets.map(({ target }) => target),
  }));
}

/** The metrics that a target draws, under their own names. */
function metricsIn(target: string): string[] {
  const names = [
    ...target.matchAll(/stats\.(?:gauges|counters)\.codetogether\.([A-Za-z0-9_.*-]+)/g),
  ];
  return names.map(([, name = ""]) =>
    name
      .replace(/^(worker|balancer)\.\*\./, "")
      .replace(/\.(p50|p99|mean|rate|count)$/, "")
      .replace(/\.\*$/, ""),
  );
}
