/**
 * Checks that Graphite receives data from the composed edge with its profile metrics:
 *
 *     npx tsx test/compose/graphite.ts
 *
 * Needs an engine with `docker compose`. People share sessions, one downloads a plugin. Then the render API must have values
 * of each of the six metrics, and the loaded dashboard must query existing series. Exits with 1 when one is missing.
 * `CT_GRAPHITE_PORT` as for compose, 127.0.0.1:8080 by default.
 */
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { fetch } from "undici";
import { put, vsix } from "../support/plugins.ts";
import { openTeams } from "../support/teams.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { compose } from "./compose.ts";

const SIX = [
  "stats.gauges.codetogether.users.online",
  "stats.gauges.codetogether.sessions.active",
  "stats.gauges.codetogether.connections.active",
  "stats.gauges.codetogether.lag.average",
  "stats.counters.codetogether.sessions.hosted.count",
  "stats.counters.codetogether.downloads.count",
];
const EDGE = `http://127.0.0.1:${(process.env["CT_PORT"] ?? "1080").split("-")[0]}`;
const GRAPHITE = `http://127.0.0.1:${(process.env["CT_GRAPHITE_PORT"] ?? "8080").split(":").at(-1)}`;
const DASHBOARD = new URL("../../deploy/graphite/graphite-dashboard.json", import.meta.url);
/** Several send intervals (10 s), plus StatsD's flush and carbon's cache. */
const FILLED_MS = 120_000;

// The plugin to download, readable by the containers' user.
const plugins = tempFolder();
chmodSync(plugins, 0o755);
put(plugins, "vscode/collab-1.vsix", await vsix());
process.env["CT_CLIENTS_DIR"] = plugins;

await compose("--profile", "metrics", "up", "-d", "--wait");
await until("the plugin is offered and downloaded", async () => {
  const answer = await fetch(`${EDGE}/clients/vscode/collab-1.vsix`);
  await answer.arrayBuffer();
  return answer.ok;
});
const all = await openTeams({ count: 3, guests: 2, url: () => EDGE });
all.startTyping(1000);
const failures: string[] = [];

for (const target of SIX) {
  try {
    const values = await until(
      `${target} has values, and not only 0`,
      async () => {
        const found = await valuesOf(target);
        return found?.some((value) => value > 0) === true && found;
      },
      FILLED_MS,
    );
    process.stdout.write(`${target}: ${values.length} values, up to ${Math.max(...values)}\n`);
  } catch (error) {
    failures.push(String(error));
  }
}

const state = readFileSync(DASHBOARD, "utf8");
const saved = await fetch(`${GRAPHITE}/dashboard/save/CodeTogether`, {
  method: "POST",
  body: new URLSearchParams({ state }),
});
const loaded = await fetch(`${GRAPHITE}/dashboard/load/CodeTogether`);
const dashboard = (await loaded.json()) as {
  state?: { graphs?: [string, { target: string[] }][] };
};
const targets = dashboard.state?.graphs?.flatMap(([, { target }]) => target) ?? [];
if (!saved.ok || targets.length === 0)
  failures.push(`the dashboard is not loaded (${saved.status})`);
for (const target of targets) {
  await until(`${target} has values`, () => valuesOf(target), FILLED_MS).catch((error: unknown) => {
    failures.push(String(error));
  });
}
process.stdout.write(`dashboard: ${targets.length} targets\n`);

await all.stopTyping();
await all.close();
rmSync(plugins, { recursive: true });
for (const failure of failures) process.stdout.write(`! ${failure}\n`);
process.stdout.write(`${failures.length} failures\n`, () =>
  process.exit(failures.length === 0 ? 0 : 1),
);

/** The render API's last non-null value of a target; undefined when there is none. */
async function valuesOf(target: string): Promise<number[] | undefined> {
  const query = new URLSearchParams({ target, from: "-10min", format: "json", noCache: "1" });
  const answer = await fetch(`${GRAPHITE}/render?${query.toString()}`);
  const series = (await answer.json()) as { datapoints: [number | null, number][] }[];
  const values = series.flatMap(({ datapoints }) => datapoints.flatMap(([value]) => value ?? []));
  return values.length === 0 ? undefined : values;
}
