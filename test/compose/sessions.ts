/**
 * Runs teams of unmodified clients in the composed edge while it is scaled and containers are killed:
 *
 *     npx tsx test/compose/sessions.ts [teams] [guests]
 *     CT_PORT=1080-1081 CT_TLS_PORT=1443-1444 BALANCERS=2 npx tsx test/compose/sessions.ts
 *
 * Needs an engine with `docker compose`. Prints the effect of each step, and exits with 1 when a session was lost, a client
 * was notified of an event that did not happen or received a message twice or, where nothing was killed, missed one.
 */
import { isDeepStrictEqual } from "node:util";
import { quantile } from "../support/churn.ts";
import type { Client } from "../support/clients.ts";
import {
  backTimes,
  equalAfter,
  heardTwice,
  missing,
  openTeams,
  type Team,
  type Teams,
  whatTheyKnow,
} from "../support/teams.ts";
import { until } from "../support/until.ts";
import { containersOf, docker, scale } from "./compose.ts";

const [count = "8", guests = "2"] = process.argv.slice(2);
const PORT_BASE = Number((process.env["CT_PORT"] ?? "1080").split("-")[0]);
const BALANCERS = Number(process.env["BALANCERS"] ?? 1);
/** Interval at which each client types a line and sends a message. */
const TYPING_MS = 1000;
const BACK_MS = 40_000;
const SETTLE_MS = 6000;

await scale({ balancer: BALANCERS, worker: 2 });
const crowds: Teams[] = [];
const failures: string[] = [];

await addTeams();
await step("scale worker=5", () => scale({ balancer: BALANCERS, worker: 5 }));
// New sessions go to the new workers too, so that removing them moves some.
await addTeams();
await step("scale worker=2", () => scale({ balancer: BALANCERS, worker: 2 }));
await step("a worker container is killed", () => kill("worker"), { mayMiss: true });
if (BALANCERS > 1) {
  await step("a balancer container is killed", () => kill("balancer"), { mayMiss: true });
}

for (const failure of failures) process.stdout.write(`! ${failure}\n`);
await Promise.all(crowds.map((crowd) => crowd.close()));
// The package keeps a timer of 30 s for each closed connection.
process.stdout.write(`${failures.length} failures\n`, () =>
  process.exit(failures.length === 0 ? 0 : 1),
);

async function addTeams(): Promise<void> {
  const crowd = await openTeams({
    count: Number(count),
    guests: Number(guests),
    // Distribute teams over the balancers.
    url: (team) => `http://127.0.0.1:${PORT_BASE + (team % BALANCERS)}`,
  });
  crowds.push(crowd);
  process.stdout.write(`${teams().length} sessions, ${people().length} people\n`);
}

function teams(): Team[] {
  return crowds.flatMap((crowd) => crowd.teams);
}

function people(): Client[] {
  return crowds.flatMap((crowd) => crowd.clients);
}

/** Changes the edge while everyone types, and reports the effect. */
async function step(
  name: string,
  act: () => Promise<number>,
  { mayMiss = false } = {},
): Promise<void> {
  const known = whatTheyKnow(people());
  const sinceMs = performance.now();
  for (const crowd of crowds) crowd.startTyping(TYPING_MS);
  const tookMs = await act();
  // Clients that move last must be back too.
  const actedMs = performance.now();
  await until("some seconds have passed", () => performance.now() - actedMs > SETTLE_MS, BACK_MS);
  const lost = await lostTeams();
  for (const crowd of crowds) await crowd.stopTyping();
  failures.push(...lost.map((team) => `${name}: the session of ${team.host.name} is lost`));
  await equalAfter(teams(), sinceMs, BACK_MS).catch(() => {
    failures.push(`${name}: documents differ`);
  });
  const isComplete = (): boolean => missing(teams()).length === 0;
  if (!mayMiss) {
    await until("everybody has heard everything", isComplete, BACK_MS).catch(() => {
      failures.push(`${name}: ${missing(teams()).join("; ")}`);
    });
  }
  failures.push(...heardTwice(people()).map((text) => `${name}: ${text}`));
  if (!isDeepStrictEqual(whatTheyKnow(people()), known)) {
    failures.push(`${name}: a client was notified of an event that did not happen`);
  }
  const pauses = people().flatMap((client) => client.pausesSince(sinceMs));
  const [p50, p99] = [0.5, 0.99].map((share) => Math.round(quantile(pauses, share)));
  process.stdout.write(
    `${name} (${Math.round(tookMs)} ms): ${lost.length} of ${teams().length} sessions lost, ` +
      `${pauses.length} pauses${pauses.length === 0 ? "" : `, p50 ${p50} ms, p99 ${p99} ms`}, ` +
      `${missing(teams()).length} pairs of people missed something\n`,
  );
}

/** Teams with a member that is not back in the session in time. */
async function lostTeams(): Promise<Team[]> {
  const fates = await Promise.allSettled(
    teams().map((team) => backTimes(team.everybody, 0, BACK_MS)),
  );
  return teams().filter((_, index) => fates[index]?.status === "rejected");
}

/** Kills the first container of a service, and restarts it as its restart policy would after a crash of the program. */
async function kill(service: string): Promise<number> {
  const startedMs = performance.now();
  const [first] = await containersOf(service);
  if (first === undefined) throw new Error(`there is no ${service}`);
  await docker("kill", "--signal", "KILL", first);
  await docker("start", first);
  return performance.now() - startedMs;
}
