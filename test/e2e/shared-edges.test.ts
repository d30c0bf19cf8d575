/**
 * Several `ct-edge`, each a balancer and its workers as in one container, that share a Redis form one edge.
 */
import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import { fetch } from "undici";
import { beforeAll, expect, test } from "vitest";
import { runCommand } from "../support/command.ts";
import {
  type EdgeOptions,
  type EdgeProcess,
  startEdge,
  startEdgeInVain,
} from "../support/edge-process.ts";
import { everybodyHears, openSession, person } from "../support/people.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { dutiesOf } from "../support/status.ts";
import { until } from "../support/until.ts";

/** As in a container, whose Redis is not on its loopback; loopback if the machine has no other address. */
const ADDRESS =
  Object.values(networkInterfaces())
    .flat()
    .find((own) => own?.family === "IPv4" && !own.internal)?.address ?? "127.0.0.1";
const SECRET = randomBytes(32).toString("base64url");

let redis: TestRedis;

beforeAll(async () => {
  redis = await startRedis({
    port: true,
    lines: [`bind ${ADDRESS} 127.0.0.1`, "protected-mode no"],
  });
});

function edgeForThisTest(name: string, prefix: string): Promise<EdgeProcess> {
  return startEdge(optionsOf(name, prefix));
}

function optionsOf(name: string, prefix: string): EdgeOptions & { env: Record<string, string> } {
  return {
    env: {
      CT_REDIS_URL: `redis://${ADDRESS}:${redis.port}`,
      CT_REDIS_PREFIX: `{${prefix}}:`,
      CT_SECRET: SECRET,
      CT_WORKER_ID: name,
      CT_WORKER_COUNT: "1",
      CT_WORKER_NETWORKS: ADDRESS,
      CT_DRAIN_DELAY_MS: "500",
    },
  };
}

interface SeenWorker {
  readonly id: string;
  readonly url: string;
  readonly status: string;
  /** Its own log lines. */
  readonly state: string;
}

async function workersSeenBy(edge: EdgeProcess): Promise<SeenWorker[]> {
  const answer = await fetch(`http://127.0.0.1:${edge.readFile().statusPort}/view`);
  const { workers } = (await answer.json()) as { workers: SeenWorker[] };
  return workers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** Resolves when each balancer sees the workers a-1 and b-1 as healthy and in these states. */
async function allSee(edges: readonly EdgeProcess[], states: readonly string[]): Promise<void> {
  for (const edge of edges) {
    await until(`the balancers see workers that are ${states.join()}`, async () => {
      const seen = await workersSeenBy(edge);
      const isHealthy = seen.every(({ status }) => status === "healthy");
      return isHealthy && seen.map(({ state }) => state).join() === states.join();
    });
  }
}

/** From now on new sessions go only to the other worker. */
async function suspend(id: "a-1" | "b-1", edges: readonly EdgeProcess[], prefix: string) {
  await command("suspend", id, prefix);
  await allSee(edges, id === "a-1" ? ["suspended", "up"] : ["up", "suspended"]);
}

async function command(name: "suspend" | "resume", id: string, prefix: string): Promise<void> {
  const { env } = optionsOf("", prefix);
  expect(await runCommand([name, id], env)).toMatchObject({ status: 0 });
}

test("any balancer reaches any worker at the address from which the worker reaches Redis", async () => {
  const edges = await Promise.all([edgeForThisTest("a", "reach"), edgeForThisTest("b", "reach")]);
  const [a, b] = edges;
  await allSee(edges, ["up", "up"]);
  const urls = edges.map((edge) => `http://${ADDRESS}:${edge.readFile().workers[0]?.port}`);
  for (const edge of edges) {
    expect((await workersSeenBy(edge)).map(({ id, url }) => [id, url])).toEqual([
      ["a-1", urls[0]],
      ["b-1", urls[1]],
    ]);
  }
  // Each worker has a session in turn; its host connects through one balancer, a guest through the other.
  for (const [idle, other, owner] of [
    ["b-1", "a-1", a],
    ["a-1", "b-1", b],
  ] as const) {
    await suspend(idle, edges, "reach");
    const { sessionId, host } = await openSession({ baseUrl: a.httpUrl, guestCount: 0 });
    const guest = person({ baseUrl: b.httpUrl, name: "Guest" });
    await guest.join(sessionId);
    expect((await dutiesOf(owner))[0]?.sessionIds).toEqual([sessionId]);
    await everybodyHears(host, [guest], `hello at ${other}`);
    await command("resume", idle, "reach");
    await allSee(edges, ["up", "up"]);
  }
}, 60_000);

test("an edge that is stopped fails its readiness check and drains to the other one", async () => {
  const edges = await Promise.all([edgeForThisTest("a", "stop"), edgeForThisTest("b", "stop")]);
  const [a, b] = edges;
  await allSee(edges, ["up", "up"]);
  await suspend("b-1", edges, "stop");
  const { sessionId, host, guests } = await openSession({ baseUrl: b.httpUrl, guestCount: 1 });
  expect((await dutiesOf(a))[0]?.sessionIds).toEqual([sessionId]);
  await command("resume", "b-1", "stop");
  await allSee(edges, ["up", "up"]);

  const admin = redis.admin();
  const shared = JSON.stringify(await admin.xrange("{stop}:stream:log-server", "-", "+"));
  for (const name of ["a", "b"]) {
    // The edge's own line, and its worker's.
    expect(shared).toMatch(
      new RegExp(`"${name}\\\\t\\S+ root INFO CodeTogether On-Premises services`),
    );
    expect(shared).toMatch(new RegExp(`"${name}-1\\\\t\\S+ ${name}-1 INFO listening`));
  }

  const { statusPort } = a.readFile();
  const stopped = a.stop("SIGTERM");
  await until("it wants no traffic any more, and says why", async () => {
    const answer = await fetch(`http://127.0.0.1:${statusPort}/health/ready`);
    return (
      answer.status === 503 && (await answer.text()).includes("this balancer is shutting down")
    );
  });
  expect((await stopped).status).toBe(0);
  expect((await dutiesOf(b))[0]?.sessionIds).toEqual([sessionId]);
  await until("people talk again", async () => {
    await host.say("still here").catch(() => {});
    return guests.every((guest) => guest.said.some(({ text }) => text === "still here"));
  });
}, 60_000);

test("an edge with Redis and without CT_SECRET does not start, and says so in one line", async () => {
  const { env } = optionsOf("a", "secret");
  const { exit, stderr, left } = await startEdgeInVain({ env: { ...env, CT_SECRET: "" } });
  expect(exit.status).toBe(1);
  expect(stderr).toMatch(/^[^\n]*CT_REDIS_URL is set without CT_SECRET[^\n]*\n$/);
  expect(left).toEqual([]);
});

test("a second edge in the same data directory is refused", async () => {
  const first = await edgeForThisTest("a", "twice");
  const options = { ...optionsOf("b", "twice"), dataDir: first.dataDir };
  const { exit, stderr } = await startEdgeInVain(options);
  expect(exit.status).toBe(1);
  expect(stderr).toContain("another edge uses this data directory");
});
