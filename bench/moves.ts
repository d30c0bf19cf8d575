/**
 * What do people notice when their session moves to another worker: because workers are restarted one after the other, because
 * a worker is killed, or because the successor of a restarting worker is killed as well? The real `ct-edge`, sessions of a host
 * and two guests, on WebSockets, in Node or Chromium. They send numbered messages and count lost connections, messages that
 * are lost, doubled or reordered, and pauses. In the control, of the same length in the same round, nothing moves.
 *
 * `BENCH_TIMES` (20) rounds; `BENCH_ONLY` (parts of parts' names, separated by `|`) selects; `MOVES_SESSIONS` is the number of
 * sessions, `MOVES_RATE` (10) how many messages a second are sent in each, `MOVES_STORE=redis` uses Redis.
 */
import type { Browser } from "playwright-core";
import { launchChromium } from "../test/support/browser.ts";
import { sessionsInPage } from "../test/support/counted/chromium.ts";
import type { CountedSessions } from "../test/support/counted/sessions.ts";
import { type EdgeProcess, startEdge } from "../test/support/edge-process.ts";
import { settle, startRedis, type TestRedis } from "../test/support/redis.ts";
import { until, within } from "../test/support/until.ts";
import { allAreUp, gatherSessions } from "../test/support/worker-moves.ts";
import { rawPublicKey } from "../test/worker/sessions/raw-peer.ts";
import { startNodeClients } from "./support/moves/node-clients.ts";
import { PARTS, type Part } from "./support/moves/parts.ts";
import { type Phase, runPhase, withoutMoves } from "./support/moves/phase.ts";
import { printRounds, type Round, resultsOf } from "./support/moves/report.ts";
import { type Result, writeResults } from "./support/results.ts";
import { isPart, selector, size } from "./support/sizes.ts";

const TIMES = size("BENCH_TIMES", { long: 20, short: 1 });
const isAsked = selector("BENCH_ONLY", { short: ["rolling: Node, http", "kill: Node, http"] });
const RATE = size("MOVES_RATE", { long: 10, short: 10 });
const IS_SHARED = process.env["MOVES_STORE"] === "redis";
const PEOPLE = 3;
const OPEN_MS = 120_000;

export async function run(): Promise<void> {
  const parts = PARTS.filter(({ name }) => isAsked(name));
  if (parts.length === 0) throw new Error("BENCH_ONLY selects no part");
  const browser = parts.some(({ client }) => client === "Chromium")
    ? await launchChromium()
    : undefined;
  const results: Result[] = [];
  try {
    for (const part of parts) {
      const rounds = await withStore((redis) => measure(part, redis, browser));
      printRounds(part, rounds);
      results.push(...resultsOf(part, rounds));
    }
  } finally {
    await browser?.close();
  }
  if (!isPart("BENCH_ONLY")) writeResults(IS_SHARED ? "moves-redis" : "moves", results);
}

/** A Redis for each part: in an old one, the sessions of the part before would still be open. */
async function withStore<T>(use: (redis: TestRedis | undefined) => Promise<T>): Promise<T> {
  const redis = IS_SHARED ? await startRedis({ port: true }) : undefined;
  try {
    if (redis !== undefined) await settle(redis.admin());
    return await use(redis);
  } finally {
    await redis?.close();
  }
}

async function measure(
  part: Part,
  redis: TestRedis | undefined,
  browser: Browser | undefined,
): Promise<Round[]> {
  const shared = redis && { CT_REDIS_URL: `redis://127.0.0.1:${redis.port}` };
  const edge = await startEdge({
    env: {
      CT_WORKER_COUNT: String(part.workers),
      CT_WARM_UP_MS: "1000",
      CT_MAX_SESSIONS_PER_USER: "100000",
      ...(shared && {
        ...shared,
        CT_SECRET: "a secret used only in this benchmark",
        CT_WORKER_ID: "worker",
      }),
    },
  });
  let clients: CountedSessions | undefined;
  try {
    const url = part.scheme === "http" ? edge.httpUrl : edge.httpsUrl;
    clients =
      browser !== undefined && part.client === "Chromium"
        ? await sessionsInPage(browser, url)
        : startNodeClients(edge.certificateFile);
    const opened = clients.open({
      url,
      sessions: part.sessions,
      people: PEOPLE,
      publicKey: rawPublicKey(),
      transports: part.transports,
      isBrowser: part.client === "Chromium",
    });
    await within("the sessions are open", OPEN_MS, opened);
    return await repeat(part, edge, clients, shared);
  } finally {
    await clients?.close().catch(() => {});
    await edge.dispose();
  }
}

async function repeat(
  part: Part,
  edge: EdgeProcess,
  clients: CountedSessions,
  env: Readonly<Record<string, string>> | undefined,
): Promise<Round[]> {
  const ids = edge.readFile().workers.map(({ id }) => id);
  const perSecond = RATE * part.sessions;
  const rounds: Round[] = [];
  for (let time = 0; time < TIMES; time++) {
    // Another worker each time: one that ends often is restarted later each time.
    const first = ids[time % ids.length] ?? "";
    await allAreUp(edge);
    if (part.isGathered) await gatherSessions(edge, first, env);
    await onWebSockets(clients);
    const moved = await runPhase(clients, perSecond, part.disturb(edge, first));
    await onWebSockets(clients).catch(() => {});
    const control = await runPhase(clients, perSecond, withoutMoves(moved));
    rounds.push({ moved, control });
    printProgress(part, time, moved);
    if (moved.away > 0) {
      process.stdout.write(`  ${moved.away} clients have not returned: this part ends here\n`);
      break;
    }
  }
  return rounds;
}

/** Clients begin with polling; a move is measured only when all of them use WebSockets. */
async function onWebSockets(clients: CountedSessions): Promise<void> {
  await until("all clients are on WebSockets", async () => {
    const { people, onWebSocket } = await clients.state();
    return people === onWebSocket;
  });
}

function printProgress({ name }: Part, time: number, { figures, moves }: Phase): void {
  const seconds = moves.reduce((sum, { tookMs }) => sum + tookMs, 0) / 1000;
  const { disconnects, lost, doubled, reordered } = figures;
  process.stdout.write(
    `  ${name} ${time + 1}/${TIMES}: ${seconds.toFixed(1)} s, ${disconnects} disconnects, ${lost} lost, ${doubled} doubled, ${reordered} reordered\n`,
  );
}
