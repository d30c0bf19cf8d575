/**
 * `ct-balancer --workers`: over real workers, which share a Redis that the balancer does not know, and over other HTTP
 * servers.
 */
import { createServer } from "node:http";
import { fetch } from "undici";
import { beforeAll, describe, expect, test } from "vitest";
import { buildOnce } from "../support/build.ts";
import {
  type Cluster,
  countersOf,
  launch,
  type Member,
  type Run,
  startCluster,
} from "../support/cluster.ts";
import { everybodyHears, expectMainJob, person } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { listen } from "../support/servers.ts";
import { until } from "../support/until.ts";

function balance(workers: readonly string[], env: Record<string, string> = {}): Run {
  return launch("balancer", { env: { CT_WORKERS: workers.join(","), ...env } });
}

interface Seen {
  readonly id: string;
  readonly isAvoided: boolean;
}

async function workersOf(balancer: Member): Promise<Seen[]> {
  const { workers } = (await balancer.view()) as { workers: Seen[] };
  return workers.map(({ id, isAvoided }) => ({ id, isAvoided }));
}

describe("over workers of an edge", () => {
  let cluster: Cluster;
  let addresses: string[];

  beforeAll(async () => {
    cluster = await startCluster({ workers: 3, balancers: 0 });
    addresses = cluster.workers.map(({ port }) => `127.0.0.1:${port}`);
  });

  test("people do the main job over workers of an edge in a fixed list", async () => {
    const balancer = await balance(addresses).ready();
    for (let i = 0; i < 3; i++) await expectMainJob(balancer.url, 2);
    expect((await workersOf(balancer)).map(({ isAvoided }) => isAvoided)).toEqual([
      false,
      false,
      false,
    ]);
  });

  test("a guest at a balancer that does not know the session reaches its worker through a 421 with the address", async () => {
    const [first, second] = await Promise.all([
      balance(addresses).ready(),
      balance(addresses.toReversed()).ready(),
    ]);
    // The workers' own rings use other names than the list, so a session id leads to its worker only one time in three.
    for (let i = 0; i < 6; i++) {
      const host = person({ baseUrl: first.url, name: "Host" });
      const guest = person({ baseUrl: second.url, name: "Guest" });
      const sessionId = await host.host();
      await guest.join(sessionId);
      await everybodyHears(host, [guest], `hello ${i}`);
      await everybodyHears(guest, [host], `hello back ${i}`);
    }
    const counters = await countersOf(second);
    expect(counters["balancer.misdirected{replayed}"]).toBeGreaterThan(0);
    expect(Object.keys(counters).filter((name) => name.includes("owner"))).toEqual([]);
  });

  test("a worker of the fixed list that is not running is unhealthy, and used once it starts", async () => {
    const spare = await freePort();
    const balancer = await balance([...addresses, `127.0.0.1:${spare}`]).ready();
    await until("the worker that is not running is avoided", async () =>
      (await workersOf(balancer)).some(
        ({ id, isAvoided }) => isAvoided && id.endsWith(`:${spare}`),
      ),
    );
    for (let i = 0; i < 20; i++) {
      expect((await fetch(`${balancer.url}/api/meta`)).status).toBe(200);
    }
    await cluster.addWorker({ env: { CT_WORKER_PORT: String(spare) } });
    await until("it is used", async () =>
      (await workersOf(balancer)).every(({ isAvoided }) => !isAvoided),
    );
  });

  test("a worker of the fixed list refuses a balancer with another secret, serves one without, and both are logged", async () => {
    const other = await balance(addresses, { CT_SECRET: "x".repeat(40) }).ready();
    await until("the refusal is logged", () =>
      other.output().includes("worker rejects this balancer"),
    );
    expect(other.output()).toContain("its CT_SECRET differs");
    const status = `http://127.0.0.1:${other.statusPort}/health/ready`;
    await until("it wants no traffic", async () => (await fetch(status)).status === 503);
    expect((await fetch(`${other.url}/api/meta`)).status).not.toBe(200);

    const bare = await balance(addresses, { CT_SECRET: "" }).ready();
    expect(bare.output()).toContain("CT_SECRET is not set");
    expect((await fetch(`${bare.url}/api/meta`)).status).toBe(200);
  });
});

describe("over any HTTP servers", () => {
  beforeAll(buildOnce);

  async function serve(name: string): Promise<string> {
    const server = createServer((_request, response) => response.end(name));
    return `127.0.0.1:${await listen(server)}`;
  }

  test("a key sticks to one of any HTTP servers in a fixed list, and two balancers with the list in another order agree", async () => {
    const list = await Promise.all(["one", "two", "three"].map(serve));
    const [first, second] = await Promise.all([
      balance(list).ready(),
      balance(list.toReversed()).ready(),
    ]);
    const ask = async (balancer: Member, key: string): Promise<string> =>
      (await fetch(balancer.url, { headers: { ctstickiness: key } })).text();
    const seen = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const name = await ask(first, `key ${i}`);
      expect(await ask(second, `key ${i}`)).toBe(name);
      expect(await ask(first, `key ${i}`)).toBe(name);
      seen.add(name);
    }
    expect(seen).toEqual(new Set(["one", "two", "three"]));
  });
});
