/**
 * How long are people disconnected when a worker is killed or hangs, or the store is away, and do they notice when workers
 * join? Real processes, a real Redis and unmodified clients that type and talk throughout, all on this machine. The limits
 * are those of test/e2e/ownership.test.ts, which does the same with less load.
 *
 * Size: CHURN_SESSIONS (300), CHURN_TEAMS (100, of three), CHURN_KILLS (20), CHURN_AWAY_MS (60000), CHURN_STOP_MS (20000).
 */
import {
  type Churn,
  describeRecoveries,
  quantile,
  type Recovery,
  startChurn,
} from "../test/support/churn.ts";
import { sees } from "../test/support/cluster.ts";
import { equalAfter, heardTwice, whatTheyKnow } from "../test/support/teams.ts";
import { until } from "../test/support/until.ts";
import { type Result, writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const SESSIONS = size("CHURN_SESSIONS", { long: 300, short: 20 });
const TEAMS = size("CHURN_TEAMS", { long: 100, short: 10 });
const KILLS = size("CHURN_KILLS", { long: 20, short: 1 });
const AWAY_MS = size("CHURN_AWAY_MS", { long: 60_000, short: 3000 });
const STOP_MS = size("CHURN_STOP_MS", { long: 20_000, short: 7000 });
/** Each receiver needs about 5 ms to decrypt a message: with 300 people who type faster, the clients would be measured. */
const TYPING_MS = 10_000;

export async function run(): Promise<void> {
  const results = [await measureJoin()];
  const churn = await startChurn({ teams: TEAMS, guests: 2, typingMs: TYPING_MS });
  try {
    const before = whatTheyKnow(churn.all.clients);
    churn.startTyping();
    results.push(...(await measureKills(churn)));
    results.push(...(await measureStop(churn)));
    results.push(...(await measureAway(churn)));
    await churn.all.stopTyping();
    await equalAfter(churn.all.teams, performance.now(), 30_000);
    const isSame = JSON.stringify(whatTheyKnow(churn.all.clients)) === JSON.stringify(before);
    say(`people, roles and approvals unchanged: ${isSame ? "yes" : "NO"}`);
    const twice = heardTwice(churn.all.clients).length;
    say(`messages received twice: ${twice}`);
    results.push(
      figure("people, roles or approvals changed (limit 0)", "times", [isSame ? 0 : 1]),
      figure("messages received twice (limit 0)", "messages", [twice]),
    );
    writeResults("churn", results);
  } finally {
    await churn.close();
  }
}

async function measureJoin(): Promise<Result> {
  const churn = await startChurn({ teams: SESSIONS, guests: 0, typingMs: TYPING_MS });
  try {
    const before = await churn.records(churn.all.teams);
    for (let i = 0; i < 3; i++) await churn.cluster.addWorker();
    for (const balancer of churn.cluster.balancers) await sees(balancer, 6);
    const after = await churn.records(churn.all.teams);
    const moved = after.filter(({ epoch }, i) => epoch !== before[i]?.epoch).length;
    say(
      `${SESSIONS} sessions on 3 workers, 3 more join: ${moved} owner changes, ${churn.reconnects()} disconnects`,
    );
    return figure("3 workers join 3: sessions that move (limit 0)", "sessions", [moved]);
  } finally {
    await churn.close();
  }
}

async function measureKills(churn: Churn): Promise<Result[]> {
  const recoveries: Recovery[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const { worker, teams } = await churn.busiest();
    const killedMs = performance.now();
    await worker.kill();
    recoveries.push(await churn.recovery(teams, killedMs));
    await churn.replace(worker);
  }
  say(describeRecoveries(`a worker is killed, ${KILLS} times`, recoveries));
  return resultsOf("a worker is killed", recoveries);
}

async function measureStop(churn: Churn): Promise<Result[]> {
  const { worker, teams } = await churn.busiest();
  await churn.all.stopTyping();
  const stopped = await churn.stopFor(worker, teams, STOP_MS);
  const what = `a worker is stopped for ${STOP_MS / 1000} s`;
  say(describeRecoveries(what, [stopped]));
  return resultsOf(what, [stopped]);
}

async function measureAway(churn: Churn): Promise<Result[]> {
  const { cluster, admin, all } = churn;
  const before = churn.reconnects();
  await cluster.redis.kill();
  const awayMs = performance.now();
  const isOver = () => performance.now() - awayMs > AWAY_MS;
  await until("the store has been away for long enough", isOver, AWAY_MS + 5000);
  await cluster.redis.start();
  const backMs = performance.now();
  await until(
    "all sessions and peers are in the store again",
    async () => {
      const counts = await Promise.all(
        all.teams.map(({ sessionId }) => admin.hlen(`{ct}:peers:${sessionId}`)),
      );
      return counts.every((count) => count === 3);
    },
    30_000,
  );
  const completeMs = performance.now() - backMs;
  const disconnects = churn.reconnects() - before;
  const what = `the store is away for ${AWAY_MS / 1000} s and comes back empty`;
  say(`${what}: ${disconnects} disconnects, complete again after ${Math.round(completeMs)} ms`);
  return [
    figure(`${what}: disconnects (limit 0)`, "people", [disconnects]),
    figure(`${what}: complete again after`, "ms", [completeMs]),
  ];
}

function resultsOf(what: string, recoveries: readonly Recovery[]): Result[] {
  const backMs = recoveries.flatMap((one) => one.backMs);
  return [
    figure(`${what}: reconnected, p50`, "ms", [quantile(backMs, 0.5)]),
    figure(`${what}: reconnected, p99`, "ms", [quantile(backMs, 0.99)]),
    figure(
      `${what}: documents equal`,
      "ms",
      recoveries.map(({ equalMs }) => equalMs),
    ),
  ];
}

function figure(question: string, unit: string, values: readonly number[]): Result {
  return { question, unit, figures: { ours: summarize(values) } };
}

function say(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`);
}
