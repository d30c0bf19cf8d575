/**
 * How long are people away when a worker is killed, hangs, or the store is gone, and does anybody notice when workers join?
 * Real processes, a real Redis, unmodified clients that type and talk all the while, all on this machine. The limits are
 * those of the tests (test/e2e/ownership.test.ts), which do the same at a smaller size.
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
/** Each message costs its receivers a decryption of about 5 ms: 300 people who type faster would measure themselves. */
const TYPING_MS = 10_000;

export async function run(): Promise<void> {
  await measureJoin();
  const churn = await startChurn({ teams: TEAMS, guests: 2, typingMs: TYPING_MS });
  try {
    const known = whatTheyKnow(churn.all.clients);
    churn.startTyping();
    await measureKills(churn);
    await measureStop(churn);
    await measureAway(churn);
    await churn.all.stopTyping();
    await equalAfter(churn.all.teams, performance.now(), 30_000);
    const isSame = JSON.stringify(whatTheyKnow(churn.all.clients)) === JSON.stringify(known);
    say(`people, roles and approvals as before: ${isSame ? "yes" : "NO"}`);
    say(`messages heard twice: ${heardTwice(churn.all.clients).length}`);
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
  await until("the time without a store has passed", isOver, AWAY_MS + 5000);
  await cluster.redis.start();
  const backMs = performance.now();
  await until(
    "all sessions and peers are known again",
    async () => {
      const counts = await Promise.all(
        all.teams.map(({ sessionId }) => admin.hlen(`{ct}:peers:${sessionId}`)),
      );
      return counts.every((count) => count === 3);
    },
    30_000,
  );
  say(
    `the store is gone for ${AWAY_MS / 1000} s and comes back empty: ${churn.reconnects() - before} disconnects, ` +
      `all is known again after ${Math.round(performance.now() - backMs)} ms`,
  );
}

function sizeOf(name: string, standard: number): number {
  const given = Number(process.env[name]);
  return Number.isInteger(given) && given > 0 ? given : standard;
}

function say(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`);
}
