/**
 * How long are people disconnected when a worker is killed or hangs, or the store is away, and do they notice when workers
 * join? Real processes, a real Redis and unmodified clients that type and talk throughout, all on this machine. The limits
 * are those of test/e2e/ownership.test.ts, which does the same with less load.
 *
 * Size: CHURN_SESSIONS (300), CHURN_TEAMS (100, of three), CHURN_KILLS (20), CHURN_AWAY_MS (60000).
 */
import {
  type Churn,
  describeRecoveries,
  type Recovery,
  startChurn,
} from "../test/support/churn.ts";
import { sees } from "../test/support/cluster.ts";
import { equalAfter, heardTwice, whatTheyKnow } from "../test/support/teams.ts";
import { until } from "../test/support/until.ts";

const SESSIONS = sizeOf("CHURN_SESSIONS", 300);
const TEAMS = sizeOf("CHURN_TEAMS", 100);
const KILLS = sizeOf("CHURN_KILLS", 20);
const AWAY_MS = sizeOf("CHURN_AWAY_MS", 60_000);
const STOP_MS = 20_000;
/** Each receiver needs about 5 ms to decrypt a message: with 300 people who type faster, the clients would be measured. */
const TYPING_MS = 10_000;

export async function run(): Promise<void> {
  await measureJoin();
  const churn = await startChurn({ teams: TEAMS, guests: 2, typingMs: TYPING_MS });
  try {
    const before = whatTheyKnow(churn.all.clients);
    churn.startTyping();
    await measureKills(churn);
    await measureStop(churn);
    await measureAway(churn);
    await churn.all.stopTyping();
    await equalAfter(churn.all.teams, performance.now(), 30_000);
    const isSame = JSON.stringify(whatTheyKnow(churn.all.clients)) === JSON.stringify(before);
    say(`people, roles and approvals unchanged: ${isSame ? "yes" : "NO"}`);
    say(`messages received twice: ${heardTwice(churn.all.clients).length}`);
  } finally {
    await churn.close();
  }
}

async function measureJoin(): Promise<void> {
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
  } finally {
    await churn.close();
  }
}

async function measureKills(churn: Churn): Promise<void> {
  const recoveries: Recovery[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const { worker, teams } = await churn.busiest();
    const killedMs = performance.now();
    await worker.kill();
    recoveries.push(await churn.recovery(teams, killedMs));
    await churn.replace(worker);
  }
  say(describeRecoveries(`a worker is killed, ${KILLS} times`, recoveries));
}

async function measureStop(churn: Churn): Promise<void> {
  const { worker, teams } = await churn.busiest();
  await churn.all.stopTyping();
  const stopped = await churn.stopFor(worker, teams, STOP_MS);
  say(describeRecoveries("a worker is stopped for 20 s", [stopped]));
}

async function measureAway(churn: Churn): Promise<void> {
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
  say(
    `the store is away for ${AWAY_MS / 1000} s and comes back empty: ${churn.reconnects() - before} disconnects, ` +
      `complete again after ${Math.round(performance.now() - backMs)} ms`,
  );
}

function sizeOf(name: string, fallback: number): number {
  const size = Number(process.env[name]);
  return Number.isInteger(size) && size > 0 ? size : fallback;
}

function say(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`);
}
