/** The exact screen of `ct-edge top`; as a process, and on a terminal: test/e2e/top.test.ts. */
import { expect, test } from "vitest";
import { type TopAnswer, topScreen } from "../../edge/commands/cluster/top.ts";
import type { ResumeLine } from "../../worker/dashboard/responses.ts";

const RESUMES: ResumeLine = {
  waiting: 1,
  moved: 12,
  crashed: 3,
  closed: { "no ticket": 1, timeout: 4 },
  messages: 2,
  repeats: 1,
  gapP50Ms: 8.1,
  gapP99Ms: 45,
};

const ANSWER: TopAnswer = {
  overview: {
    atMs: Date.UTC(2026, 10, 26, 1, 2, 3),
    version: "0.1.0",
    store: { state: "up", reason: null },
    storeLatencyMs: 0.42,
    tiles: {
      usersOnline: 12,
      sessionsActive: 4,
      connectionsActive: 13,
      lagMs: 1.25,
      sessionsHosted: 88,
      downloads: null,
    },
    workerStatuses: { up: 1, suspended: 0, draining: 0, unhealthy: 1, down: 0, unknown: 0 },
    workers: { up: 1, suspended: 0, draining: 0, suspect: 1, dead: 0, unknown: 0 },
    balancers: 1,
    concerns: ["Worker worker-2 is unhealthy: no-response."],
  },
  workers: [
    {
      id: "worker-1",
      status: "up",
      state: "up",
      reason: "",
      lastFailure: null,
      sessions: 4,
      connections: 13,
      lagMs: 1.25,
      link: {
        state: "open",
        balancers: 1,
        open: 1,
        links: 1,
        streams: 14,
        framesIn: 1000,
        framesOut: 900,
        bytesIn: 50_000,
        bytesOut: 40_000,
        stalls: 3,
        resets: 2,
        errors: 0,
      },
      rssBytes: 120 * 1024 * 1024,
      version: "0.1.0",
      uptimeMs: 90_061_000,
      restarts: 2,
      url: "http://127.0.0.1:3001",
    },
    {
      id: "worker-2",
      status: "unhealthy",
      state: "suspect",
      reason: "no-response \u001b[2J(seen by 1 of 1 balancers)",
      lastFailure: null,
      sessions: null,
      connections: null,
      lagMs: null,
      link: null,
      rssBytes: null,
      version: "0.1.0",
      uptimeMs: null,
      restarts: null,
      url: "",
    },
  ],
  balancers: [
    {
      id: "balancer-abcd1234",
      version: "0.1.0",
      uptimeMs: 5000,
      rssBytes: 80 * 1024 * 1024,
      connections: 20,
      tunnels: 13,
      resumes: RESUMES,
      ringDiffers: false,
    },
  ],
  resumes: RESUMES,
};

test("the screen shows known and unknown numbers, and a line for each concern", () => {
  expect(topScreen(ANSWER)).toBe(
    `edge 0.1.0  2026-11-26T01:02:03Z  store up (0.4 ms)
people 12  sessions 4  connections 13  lag 1.3 ms  hosted 88  downloads ?
workers 1 up, 1 unhealthy  balancers 1
WebSockets moved 12  kept in crashes 3  reconnected 5 (timeout 4, no ticket 1)  waiting 1  gap p50 8.1 ms  p99 45.0 ms
! Worker worker-2 is unhealthy: no-response.

KIND      ID                 STATE      SESSIONS  CONNECTIONS     LAG  LINK  STREAMS  WAITING   MEMORY  UPTIME  RESTARTS  STALLS  RESETS  LINK ERRORS  VERSION  WHY
balancer  balancer-abcd1234  -                 -           20       -  -           -        1   80 MiB      5s         -       -       -            -  0.1.0    -
worker    worker-1           up                4           13  1.3 ms  open       14        -  120 MiB   1d 1h         2       3       2            0  0.1.0    -
worker    worker-2           unhealthy         ?            ?       ?  -           -        -        ?       ?         ?       -       -            -  0.1.0    no-response \\u001b[2J(seen by 1 of 1 balancers)
`,
  );
});

test("an edge without members and with its store away is shown as such", () => {
  const { overview } = ANSWER;
  const store = { state: "away", reason: "connect ECONNREFUSED" } as const;
  const away = { ...overview, atMs: null, store, storeLatencyMs: null, concerns: [] };
  const text = topScreen({ overview: away, workers: [], balancers: [], resumes: null });
  expect(text).toContain("edge 0.1.0  ?  store away\n");
  expect(text).toContain("\n! The store is away: connect ECONNREFUSED\n");
  expect(text).not.toContain("WebSockets");
  expect(text).toContain("\nNo balancer and no worker has a lease.\n");
});
