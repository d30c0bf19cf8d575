/**
 * Teams of unmodified clients in the composed edge, while an operator scales it and a container is killed:
 *
 *     docker compose up -d --wait
 *     npx tsx test/compose/sessions.ts [teams] [guests]
 *
 * Needs an engine with `docker compose`. Prints what each step did to people, and ends with 1 when a session was lost, somebody
 * was told of something that did not happen, heard something twice or, where nothing was killed, missed something.
 */
import { isDeepStrictEqual } from "node:util";
import { quantile } from "../support/churn.ts";
import {
  backTimes,
  equalAfter,
  heardTwice,
  missing,
  openTeams,
  type Team,
  whatTheyKnow,
} from "../support/teams.ts";
import { until } from "../support/until.ts";
import { containersOf, docker, scale } from "./compose.ts";

const [count = "8", guests = "2"] = process.argv.slice(2);
const PORT_BASE = Number((process.env["CT_PORT"] ?? "1080").split("-")[0]);
const BALANCERS = Number(process.env["BALANCERS"] ?? 1);
/** Everybody writes a line and says something once in so long. */
const TYPING_MS = 1000;
const BACK_MS = 40_000;

await scale({ balancer: BALANCERS, worker: 2 });
const all = await openTeams({
  count: Number(count),
  guests: Number(guests),
  // Teams are spread over the balancers; their people do not change.
  url: (team) => `http://127.0.0.1:${PORT_BASE + (team % BALANCERS)}`,
});
const known = whatTheyKnow(all.clients);
const failures: string[] = [];
process.stdout.write(`${all.teams.length} sessions, ${all.clients.length} people\n`);

await step("scale worker=5", () => scale({ balancer: BALANCERS, worker: 5 }));
await step("scale worker=2", () => scale({ balancer: BALANCERS, worker: 2 }));
await step("a worker container is killed", killWorker, { mayMiss: true });
if (BALANCERS > 1) await step("a balancer container is killed", killBalancer, { mayMiss: true });

for (const failure of failures) process.stdout.write(`! ${failure}\n`);
await all.close();
// The package keeps a timer of 30 s for each connection that it has closed.
process.stdout.write(`${failures.length} failures\n`, () =>
  process.exit(failures.length === 0 ? 0 : 1),
);

/** Does something to the edge while everybody types, and says how they fared. */
async function step(
  name: string,
  act: () => Promise<number>,
  { mayMiss = false } = {},
): Promise<void> {
  const sinceMs = performance.now();
  const reconnects = all.clients.reduce((sum, client) => sum + client.reconnectCount, 0);
  all.startTyping(TYPING_MS);
  const tookMs = await act();
  // A pause after it: who is moved at the end has to be back too.
  await until(
    "some seconds have passed",
    () => performance.now() - sinceMs > tookMs + 6000,
    8000 + tookMs,
  );
  const lost = await lostTeams();
  await all.stopTyping();
  if (lost.length === 0) {
    const late = new Error("documents differ");
    await equalAfter(all.teams, performance.now(), BACK_MS).catch(() =>
      failures.push(`${name}: ${late.message}`),
    );
  }
  for (const team of lost) failures.push(`${name}: session of ${team.host.name} is lost`);
  const again = all.clients.reduce((sum, client) => sum + client.reconnectCount, 0) - reconnects;
  if (!mayMiss) {
    const isComplete = () => missing(all.teams).length === 0;
    await until("everybody has heard everything", isComplete, BACK_MS).catch(() => {
      failures.push(`${name}: ${missing(all.teams).join("; ")}`);
    });
  }
  const twice = heardTwice(all.clients);
  failures.push(...twice.map((text) => `${name}: ${text}`));
  if (!isDeepStrictEqual(whatTheyKnow(all.clients), known)) {
    failures.push(`${name}: somebody was told of something that did not happen`);
  }
  const pauses = all.clients.flatMap((client) => client.pausesSince(sinceMs));
  const shown = [0.5, 0.99].map((share) => `${Math.round(quantile(pauses, share))}`);
  process.stdout.write(
    `${name}: ${lost.length} of ${all.teams.length} sessions lost; took ${Math.round(tookMs)} ms; ${again} reconnects; ` +
      `pauses ${pauses.length === 0 ? "none" : `p50 ${shown[0]} ms, p99 ${shown[1]} ms`}; ${missing(all.teams).length} pairs missed something\n`,
  );
}

/** Teams of which somebody is not in the session again in time. */
async function lostTeams(): Promise<Team[]> {
  const fates = await Promise.allSettled(
    all.teams.map((team) => backTimes(team.everybody, 0, BACK_MS)),
  );
  return all.teams.filter((_, index) => fates[index]?.status === "rejected");
}

async function killWorker(): Promise<number> {
  return kill("worker", 2);
}

async function killBalancer(): Promise<number> {
  return kill("balancer", BALANCERS);
}

/** Kills the first container of a service, which is then started again as an operator would. */
async function kill(service: string, count: number): Promise<number> {
  const startedMs = performance.now();
  const [first] = await containersOf(service);
  if (first === undefined) throw new Error(`there is no ${service}`);
  await docker("kill", "--signal", "KILL", first);
  const left = await containersOf(service);
  if (left.length !== count - 1 && left.includes(first)) throw new Error(`${first} lives on`);
  await docker("start", first);
  return performance.now() - startedMs;
}
