/** What operators see of a crash that no client notices: the session's history, and the totals of the balancer. */
import { fetch } from "undici";
import { beforeAll, expect, test } from "vitest";
import type { SessionEventsResponse, WorkersResponse } from "../../worker/dashboard/responses.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { everybodyHears, openSession } from "../support/people.ts";
import { until } from "../support/until.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({
    workers: 2,
    balancers: 1,
    env: { CT_DASHBOARD_USER: "ops", CT_DASHBOARD_PASSWORD: "operator" },
  });
}, 120_000);

const authorization = `Basic ${Buffer.from("ops:operator").toString("base64")}`;
const urlOf = (): string => cluster.balancers[0]?.url ?? "";

async function get<T>(path: string): Promise<T> {
  const response = await fetch(`${urlOf()}/dashboard/api/${path}`, { headers: { authorization } });
  return (await response.json()) as T;
}

/** The mean pause of the WebSockets that went on, as the balancer measures it. */
async function meanGapMs(): Promise<number> {
  const status = `http://127.0.0.1:${cluster.balancers[0]?.statusPort}/metrics`;
  const text = await (await fetch(status)).text();
  const [sum = 0, count = 0] = ["sum", "count"].map((part) =>
    Number(new RegExp(`balancer_resume_gap_\\w+_${part} (\\S+)`).exec(text)?.[1]),
  );
  return (sum * (text.includes("resume_gap_seconds") ? 1000 : 1)) / count;
}

test.runIf(HAS_LINKS)(
  "the history of a session has the gap that its WebSockets had after a crash, and the dashboard counts them",
  { timeout: 90_000 },
  async () => {
    const { sessionId, host, guests } = await openSession({ baseUrl: urlOf(), guestCount: 1 });
    await everybodyHears(host, guests, "before");
    const tunnels = async () => (await get<WorkersResponse>("workers")).balancers[0]?.tunnels;
    await until("both have WebSockets", async () => (await tunnels()) === 2, 20_000);
    const path = `sessions/${sessionId.slice(0, 8)}/events`;
    const { events } = await get<SessionEventsResponse>(path);
    const owner = events.find(({ kind }) => kind === "created")?.worker;
    await cluster.workers.find(({ id }) => id === owner)?.kill();
    await everybodyHears(host, guests, "after");
    const cause = await until("it is in the history", async () => {
      const all = (await get<SessionEventsResponse>(path)).events;
      return all.find(({ kind }) => kind === "returned")?.cause;
    });
    expect(cause).toMatch(/^2 connections kept open after a crash, gap \d+ ms/);
    const gapMs = Number(/gap (\d+)/.exec(cause)?.[1]);
    expect(Math.abs(gapMs - (await meanGapMs()))).toBeLessThan(300);
    const resumes = await until(
      "the balancer has reported",
      async () => {
        const now = (await get<WorkersResponse>("workers")).resumes;
        return now?.crashed === 2 && now;
      },
      20_000,
    );
    expect(resumes).toMatchObject({ waiting: 0, moved: 0, crashed: 2, closed: {} });
  },
);
