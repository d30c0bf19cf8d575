/** How the edge is described for the page: the worst view wins, and unknown is never shown as healthy. */
import { describe, expect, test } from "vitest";
import type { Incarnation, SessionId, WorkerId } from "../../../shared/base/ids.ts";
import type { ReportedResumes } from "../../../shared/cluster/resume-reports.ts";
import type { BalancerView, ReportedWorker, View } from "../../../shared/cluster/status-reports.ts";
import type { BalancerRecord, WorkerRecord } from "../../../shared/store/member.ts";
import type { SessionRecord } from "../../../shared/store/store.ts";
import {
  describeMembers,
  describeOverview,
  describeSessions,
} from "../../../worker/dashboard/describe.ts";
import type { Snapshot } from "../../../worker/dashboard/snapshot.ts";
import { balancer as balancerRecord, worker as workerRecord } from "../../contract/store.ts";

const NOW_MS = 1_000_000;
const INCARNATION = "a".repeat(16) as Incarnation;
const UP = { state: "up" } as const;
const AWAY = { state: "away", reason: "connection refused" } as const;

function worker(id: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return {
    ...workerRecord(id, INCARNATION),
    version: "1.0.0",
    load: { sessions: 2, connections: 5, lagMs: 0.5 },
    ringFingerprint: "r1",
    ...more,
  };
}

function balancer(id: string, ringFingerprint = "r1"): BalancerRecord {
  return { ...balancerRecord(id), ringFingerprint };
}

function balancerView(...workers: ReportedWorker[]): BalancerView {
  return { role: "balancer", uptimeMs: 60_000, rssBytes: 50, connections: 4, tunnels: 3, workers };
}

function snapshot(more: {
  readonly members?: Snapshot["membership"]["members"];
  readonly views?: Readonly<Record<string, View>>;
  readonly owners?: Readonly<Record<string, string>>;
  readonly isCurrent?: boolean;
  readonly ignored?: number;
}): Snapshot {
  const { members = [], views = {}, owners = {}, isCurrent = true, ignored = 0 } = more;
  return {
    nowMs: NOW_MS,
    isCurrent,
    storeLatencyMs: isCurrent ? 1 : undefined,
    membership: { members, ignored, booted: true },
    views: Object.entries(views).map(([id, view]) => ({ id, seenMs: NOW_MS - 2000, view })),
    cluster: [],
    ownerById: new Map(Object.entries(owners)) as unknown as Snapshot["ownerById"],
  };
}

describe("a worker", () => {
  test("a worker is in the state that it says, when no balancer says worse", () => {
    const members = [worker("w1"), worker("w2", { state: "draining" }), balancer("b1")];
    const seen = members.flatMap(({ id, kind }) =>
      kind === "worker" ? { id, status: "healthy" as const } : [],
    );
    const { workers } = describeMembers(
      snapshot({ members, views: { b1: balancerView(...seen) } }),
    );
    expect(workers.map(({ id, status, reason }) => [id, status, reason])).toEqual([
      ["w1", "up", ""],
      ["w2", "draining", "hands its sessions over"],
    ]);
  });

  test("a worker is as bad as the worst that a balancer sees of it, and the reason says how many see that", () => {
    const failure = { reason: "refused", by: "probe", agoMs: 500 };
    const views = {
      b1: balancerView({ id: "w1", status: "healthy" }),
      b2: balancerView({ id: "w1", status: "unhealthy", lastFailure: failure }),
      b3: balancerView({
        id: "w1",
        status: "healthy",
        lastFailure: { reason: "reset", by: "traffic", agoMs: 90_000 },
      }),
    };
    const { workers } = describeMembers(snapshot({ members: [worker("w1")], views }));
    expect(workers).toMatchObject([
      {
        status: "unhealthy",
        state: "suspect",
        reason: "refused (seen by 1 of 3 balancers)",
        lastFailure: { atMs: NOW_MS - 2500, reason: "refused, probe" },
      },
    ]);
  });

  test("a worker whose lease has expired is down as long as a balancer remembers it, with nothing else known", () => {
    const views = { b1: balancerView({ id: "w9", status: "healthy" }) };
    const { workers } = describeMembers(snapshot({ members: [balancer("b1")], views }));
    expect(workers).toEqual([
      {
        id: "w9",
        status: "down",
        state: "dead",
        reason: "its lease has expired",
        lastFailure: null,
        sessions: null,
        connections: null,
        lagMs: null,
        link: null,
        rssBytes: null,
        version: "",
        uptimeMs: null,
        restarts: null,
        url: "",
      },
    ]);
  });

  test("a worker is unknown while the store is away, whatever was known before", () => {
    const members = [worker("w1"), worker("w2", { state: "suspended" })];
    const { workers } = describeMembers(snapshot({ members, isCurrent: false }));
    expect(workers).toMatchObject([
      { status: "unknown", reason: "the store does not respond; it was up before", sessions: null },
      { status: "unknown", lagMs: null, version: "1.0.0" },
    ]);
  });

  test("a worker has memory, uptime and restarts from its report, and null before the first one", () => {
    const views: Record<string, View> = {
      w1: { role: "worker", uptimeMs: 5000, rssBytes: 7, restarts: 2, sessions: [] },
      w2: { role: "worker", uptimeMs: 6000, rssBytes: 8, sessions: [] },
    };
    const members = [worker("w1"), worker("w2"), worker("w3")];
    const { workers } = describeMembers(snapshot({ members, views }));
    expect(
      workers.map(({ uptimeMs, rssBytes, restarts }) => [uptimeMs, rssBytes, restarts]),
    ).toEqual([
      [5000, 7, 2],
      [6000, 8, null],
      [null, null, null],
    ]);
  });
});

describe("the links to a worker", () => {
  const link = {
    state: "open",
    links: 1,
    streams: 4,
    framesIn: 10,
    framesOut: 20,
    bytesIn: 300,
    bytesOut: 400,
    stalls: 1,
    resets: 2,
    errors: 3,
  } as const;
  const healthy = { id: "w1", status: "healthy" } as const;

  test("the links to a worker are the sums of what balancers report, and the state is the worst", () => {
    const views = {
      b1: balancerView({ ...healthy, link }),
      b2: balancerView({
        ...healthy,
        link: { ...link, state: "connecting", links: 0, streams: 0 },
      }),
      // Of the version before.
      b3: balancerView(healthy),
    };
    const { workers } = describeMembers(snapshot({ members: [worker("w1")], views }));
    expect(workers[0]?.link).toEqual({
      state: "connecting",
      balancers: 2,
      open: 1,
      links: 1,
      streams: 4,
      framesIn: 20,
      framesOut: 40,
      bytesIn: 600,
      bytesOut: 800,
      stalls: 2,
      resets: 4,
      errors: 6,
    });
  });

  test("the links to a worker are null while no balancer reports them, and while the store is away", () => {
    const members = [worker("w1")];
    const former = { b1: balancerView(healthy) };
    expect(describeMembers(snapshot({ members, views: former })).workers[0]?.link).toBeNull();
    const views = { b1: balancerView({ ...healthy, link }) };
    const away = describeMembers(snapshot({ members, views, isCurrent: false }));
    expect(away.workers[0]?.link).toBeNull();
  });
});

describe("WebSockets in moves", () => {
  // Bounds of the buckets: 1, 2.5, 5, 10, 25, 50, 100, … ms.
  const gaps = (fast: number, slow: number) => [0, 0, 0, fast, 0, 0, slow, ...Array(8).fill(0)];
  const first: ReportedResumes = {
    waiting: 1,
    moved: 90,
    crashed: 8,
    closed: { timeout: 2 },
    messages: 5,
    repeats: 3,
    gaps: gaps(98, 0),
  };
  const second: ReportedResumes = {
    waiting: 2,
    moved: 2,
    crashed: 0,
    closed: { "no ticket": 4, timeout: 1 },
    messages: 1,
    repeats: 0,
    gaps: gaps(0, 2),
  };
  const members = [balancer("b1"), balancer("b2"), balancer("b3")];
  const views = {
    b1: { ...balancerView(), resumes: first },
    b2: { ...balancerView(), resumes: second },
    // Of the version before.
    b3: balancerView(),
  };

  test("WebSockets in moves are described for each balancer, and summed with the gaps of all of them", () => {
    const { balancers, resumes } = describeMembers(snapshot({ members, views }));
    expect(balancers.map((line) => line.resumes)).toMatchObject([
      { moved: 90, closed: { timeout: 2 }, gapP50Ms: 7.5, gapP99Ms: 10 },
      { moved: 2, closed: { "no ticket": 4, timeout: 1 }, gapP50Ms: 75 },
      null,
    ]);
    expect(resumes).toEqual({
      waiting: 3,
      moved: 92,
      crashed: 8,
      closed: { "no ticket": 4, timeout: 3 },
      messages: 6,
      repeats: 3,
      gapP50Ms: 7.6,
      gapP99Ms: 75,
    });
  });

  test("WebSockets in moves have no gap before the first one, and none that is counted in other buckets", () => {
    const none = { ...first, gaps: gaps(0, 0) };
    const other = { ...first, gaps: [1, 2, 3] };
    for (const resumes of [none, other]) {
      const seen = snapshot({ members, views: { b1: { ...balancerView(), resumes } } });
      expect(describeMembers(seen).resumes).toMatchObject({ gapP50Ms: null, gapP99Ms: null });
    }
  });

  test("WebSockets in moves are null while no balancer reports them, and while the store is away", () => {
    expect(describeMembers(snapshot({ members })).resumes).toBeNull();
    expect(describeMembers(snapshot({ members, views, isCurrent: false })).resumes).toBeNull();
  });
});

describe("the overview", () => {
  const concerns = (...args: Parameters<typeof snapshot>) =>
    describeOverview(snapshot(...args), UP).concerns;

  test("the overview has tiles that are null while the number is unknown", () => {
    const { tiles } = describeOverview(
      {
        ...snapshot({}),
        cluster: [{ name: "users.online", tag: "", kind: "gauge", value: 0 }],
      },
      UP,
    );
    expect(tiles).toEqual({
      usersOnline: 0,
      sessionsActive: null,
      connectionsActive: null,
      lagMs: null,
      sessionsHosted: null,
      downloads: null,
    });
  });

  test("the overview says nothing is wrong only when a worker is up", () => {
    expect(concerns({ members: [worker("w1")] })).toEqual([]);
    expect(concerns({})).toEqual(["No worker is healthy: no session can be opened."]);
    expect(concerns({ members: [worker("w1", { state: "suspended" })] })).toEqual([
      "No worker accepts new sessions.",
    ]);
  });

  test("the overview shows a store outage, and no concerns from before", () => {
    const { store, concerns, storeLatencyMs, workers } = describeOverview(
      snapshot({ members: [worker("w1")], isCurrent: false }),
      AWAY,
    );
    expect(store).toEqual({ state: "away", reason: "connection refused" });
    expect([concerns, storeLatencyMs]).toEqual([[], null]);
    expect(workers).toMatchObject({ up: 0, unknown: 1 });
  });

  test("the overview counts workers by status, also under the names of the version before", () => {
    const { workerStatuses, workers } = describeOverview(
      snapshot({
        members: [worker("w1"), worker("w2"), balancer("b1")],
        views: {
          b1: balancerView({ id: "w2", status: "unhealthy" }, { id: "w3", status: "down" }),
        },
      }),
      UP,
    );
    expect(workerStatuses).toMatchObject({ up: 1, unhealthy: 1, down: 1, unknown: 0 });
    expect(workers).toMatchObject({ up: 1, suspect: 1, dead: 1, unknown: 0 });
  });

  test("the overview names a worker that is down, sessions that nobody has, rings that differ and nonsense", () => {
    expect(
      concerns({
        members: [worker("w1"), balancer("b1"), balancer("b2", "r2")],
        views: { b1: balancerView({ id: "w2", status: "down" }) },
        owners: { s1: "w1", s2: "w2", s3: "w2" },
        ignored: 1,
      }),
    ).toEqual([
      "Worker w2 is down: its lease has expired.",
      "Sessions whose worker is gone and that nobody has taken over yet: 2.",
      "Ring differs from the majority: b2; if this persists, the same key is routed to different workers: check that all processes run the same version and reach the same store.",
      "Member records in the store that cannot be parsed and are not shown: 1; check what else writes to this store.",
    ]);
  });
});

describe("a balancer", () => {
  const differing = (members: Snapshot["membership"]["members"]) =>
    describeMembers(snapshot({ members })).balancers.map(({ id, ringDiffers }) => [
      id,
      ringDiffers,
    ]);

  test("a balancer has a differing ring when the majority of all members has another one", () => {
    expect(differing([worker("w1"), balancer("b1"), balancer("b2", "r2")])).toEqual([
      ["b1", false],
      ["b2", true],
    ]);
  });

  test("a balancer has a differing ring on a tie, as in `ct-edge list`, because no ring has a majority", () => {
    const members = [balancer("b1"), balancer("b2", "r2")];
    expect(differing(members)).toEqual([
      ["b1", true],
      ["b2", true],
    ]);
    expect(
      describeOverview(
        snapshot({ members: [worker("w1"), ...members, worker("w2", { ringFingerprint: "r2" })] }),
        UP,
      ).concerns,
    ).toEqual([
      "Rings differ and none has a majority; if this persists, the same key is routed to different workers: check that all processes run the same version and reach the same store.",
    ]);
  });
});

describe("a session", () => {
  const id = "abcdefghijklmnopqrstuvwx";
  const record = {
    id: id as SessionId,
    owner: "w1" as WorkerId,
    incarnation: INCARNATION,
    epoch: 3,
    state: "open",
    userId: "u",
    clock: 1,
    peers: [
      { id: "p1", host: true, user: { id: "u", name: "Ada" }, client: "vscode" },
      { id: "p2", host: false, user: { id: "v", name: "Ben", signIn: "s" }, client: "intellij" },
    ],
    revokedTokens: [],
    createdMs: NOW_MS - 5000,
  } as unknown as SessionRecord;
  const seen = { id, bytes: 99, idleMs: 7, connected: ["p1"] };
  const view: View = { role: "worker", uptimeMs: 1, rssBytes: 1, sessions: [seen] };

  test("a session is described with its owner's report", () => {
    const now = snapshot({ members: [worker("w1")], views: { w1: view }, owners: { [id]: "w1" } });
    expect(describeSessions(now, [record])).toEqual({
      total: 1,
      sessions: [
        {
          id: "abcdefgh",
          worker: "w1",
          ownerState: "lives",
          epoch: 3,
          isLocked: false,
          ageMs: 5000,
          bytes: 99,
          lastActivityMs: 7,
          peers: [
            {
              ...{ id: "p1", name: "Ada", host: true, client: "vscode", connected: true },
              hasSignIn: false,
            },
            {
              ...{ id: "p2", name: "Ben", host: false, client: "intellij", connected: false },
              hasSignIn: true,
            },
          ],
        },
      ],
    });
  });

  test("a session is not described with the report of a previous owner", () => {
    const views = { w2: view };
    const now = snapshot({ members: [worker("w1"), worker("w2")], views, owners: { [id]: "w1" } });
    expect(describeSessions(now, [record]).sessions).toMatchObject([
      { bytes: null, lastActivityMs: null, peers: [{ connected: null }, { connected: null }] },
    ]);
  });

  test("a session says when its owner is gone, or a new incarnation of it has not taken it up", () => {
    const reborn = worker("w1", { incarnation: "c".repeat(16) as Incarnation });
    for (const [members, isCurrent, state] of [
      [[], true, "gone"],
      [[reborn], true, "restarted"],
      [[worker("w1")], false, "unknown"],
    ] as const) {
      const { sessions } = describeSessions(snapshot({ members, isCurrent }), [record]);
      expect(sessions[0]?.ownerState).toBe(state);
    }
  });
});
