/**
 * Workers of a one-machine edge restart while people type in sessions of unmodified clients: a worker that is stopped while
 * others run drains first. Every encrypted message on the wire is counted.
 */
import { describe, expect, onTestFinished, test } from "vitest";
import { quantile } from "../support/churn.ts";
import { runCommand } from "../support/command.ts";
import { type EdgeFile, type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { startRedis } from "../support/redis.ts";
import { startTraffic } from "../support/steady-traffic.ts";
import { equalAfter, openTeams, type Teams, whatTheyKnow } from "../support/teams.ts";
import { until } from "../support/until.ts";
import { compareWire, type WireFigures } from "../support/wire.ts";

/** `TEST_RESTARTS=20` for the full run. */
const RESTARTS = Number(process.env["TEST_RESTARTS"] ?? 3);
const WORKERS = ["worker-1", "worker-2", "worker-3"];
/** Many processes start one after the other. */
const SLOW = { timeout: 60_000 + RESTARTS * 15_000 };

const STORES = ["the embedded store", "Redis"] as const;

describe.each(STORES)("with %s", (store) => {
  test(
    "no message is lost, doubled or reordered when workers are restarted one after the other under traffic",
    SLOW,
    async () => {
      const edge = await edgeWith(store);
      const all = await busyTeams(edge);
      const known = whatTheyKnow(all.clients);
      const sinceMs = performance.now();

      for (let count = 0; count < RESTARTS; count++) {
        const worker = WORKERS[Math.floor(Math.random() * WORKERS.length)] ?? "";
        expect(await restart(edge, worker)).toMatchObject({ status: 0 });
      }

      expect(await figuresOf(all)).toMatchObject({ lost: 0, doubled: 0, reordered: 0, faults: [] });
      expect(whatTheyKnow(all.clients)).toEqual(known);
      report(`${RESTARTS} restarts with ${store}`, all, sinceMs);
    },
  );

  test(
    "a rolling restart of all processes loses no message and fails no request, and says how it proceeds",
    SLOW,
    async () => {
      const edge = await edgeWith(store);
      const before = edge.readFile();
      const all = await busyTeams(edge);
      const known = whatTheyKnow(all.clients);
      const traffic = await startTraffic([edge.httpUrl]);
      const sinceMs = performance.now();

      const { status, stdout, stderr } = await restart(edge);

      expect({ status, stderr }).toMatchObject({ status: 0 });
      expect(await traffic.stop()).toEqual([]);
      expect(await figuresOf(all)).toMatchObject({ lost: 0, doubled: 0, reordered: 0, faults: [] });
      expect(whatTheyKnow(all.clients)).toEqual(known);
      report(`rolling restart with ${store}, ${traffic.answered} requests`, all, sinceMs);
      // The result is the list of processes; progress goes to standard error, one process after the other.
      expect(stdout).toMatch(/^info: {4}Forever processes running\n/);
      expect(stderr.replaceAll(/\d+/g, "N").replaceAll("sessions", "session")).toMatch(
        /^(worker-N: handing over N session\n)?worker-N: restarted in N.N s \(pid N\)\n/,
      );
      const restarted = [...stderr.matchAll(/^(\S+): restarted in/gm)].map(([, name]) => name);
      expect(restarted).toEqual([...WORKERS, "balancer"]);
      const after = edge.readFile();
      expect(after).toMatchObject({ httpPort: before.httpPort, tlsPort: before.tlsPort });
      expect(pidsIn(after).filter((pid) => pidsIn(before).includes(pid))).toEqual([]);
    },
  );
});

// --- arrangements ---

async function edgeWith(store: (typeof STORES)[number]): Promise<EdgeProcess> {
  const env: Record<string, string> = {
    CT_WORKER_COUNT: String(WORKERS.length),
    // As by default: the replacement of the balancer warms up while the old one serves.
    CT_WARM_UP_MS: "1000",
  };
  if (store === "Redis") {
    const redis = await startRedis({ port: true });
    env["CT_REDIS_URL"] = `redis://127.0.0.1:${redis.port}`;
    env["CT_SECRET"] = "the secret that the processes of this edge share";
    env["CT_WORKER_ID"] = "worker";
  }
  return startEdge({ env });
}

/** Twelve sessions of three people who type; every message from now on is recorded. */
async function busyTeams(edge: EdgeProcess): Promise<Teams> {
  const all = await openTeams({ count: 12, guests: 2, url: () => edge.httpUrl });
  onTestFinished(() => all.close());
  for (const client of all.clients) client.wire.startRecording();
  all.startTyping(1000);
  return all;
}

function pidsIn({ balancer, workers }: EdgeFile): number[] {
  return [balancer.pid, ...workers.map(({ pid }) => pid)];
}

function restart(edge: EdgeProcess, ...name: string[]) {
  return runCommand(["restart", ...name], { CT_DATA_DIR: edge.dataDir });
}

/** Ends the typing, and counts the messages sent and received. */
async function figuresOf(all: Teams): Promise<WireFigures> {
  await until("all are back", () => all.clients.every((client) => client.isServed), 30_000);
  await all.stopTyping();
  const figures = await compareWire(all.teams.map(({ everybody }) => everybody));
  await equalAfter(all.teams, performance.now(), 15_000);
  process.stdout.write(
    `${figures.expected} messages: ${figures.lost} lost, ${figures.doubled} doubled, ${figures.reordered} reordered\n`,
  );
  return figures;
}

function report(what: string, all: Teams, sinceMs: number): void {
  const pauses = all.clients.flatMap((client) => client.pausesSince(sinceMs));
  const [p50, p99] = [0.5, 0.99].map((share) => Math.round(quantile(pauses, share)));
  process.stdout.write(`${what}: ${pauses.length} pauses, p50 ${p50} ms, p99 ${p99} ms\n`);
}
