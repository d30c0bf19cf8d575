/**
 * The output of `ct-edge explain` for each cause: the decision comes from the real router, the workers' part from the store's
 * own rule. The command as a process: test/e2e/explain.test.ts.
 */
import { describe, expect, test } from "vitest";
import { explainHead } from "../../balancer/admin/explain.ts";
import type { Router } from "../../balancer/routing/router.ts";
import { UpstreamError } from "../../balancer/upstreams/connection.ts";
import { type LinkState, noLinks } from "../../balancer/upstreams/worker-links.ts";
import {
  type BalancerAnswer,
  describeAnswer,
  type ExplainAnswer,
  follow,
  type OwnershipEvent,
} from "../../edge/explain/answer.ts";
import { explainText, problemOf } from "../../edge/explain/format-explanation.ts";
import { askFor, guessWay, type Way } from "../../edge/explain/question.ts";
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import { workerTag } from "../../shared/base/worker-tag.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { holderOf } from "../../shared/store/ownership.ts";
import { type SessionRecord, StoreAwayError } from "../../shared/store/store.ts";
import { createView, workerRecord } from "../balancer/rig.ts";
import { openRouter } from "../balancer/router-rig.ts";
import { peer } from "../contract/store.ts";
import { atEnd } from "../support/at-end.ts";
import { createStepClock } from "../support/step-clock.ts";

const ROOM = "R00MR00MR00MR00MR00MR00M" as SessionId;
const CREATED_MS = Date.UTC(2030, 0, 1);
const EPOCH = CREATED_MS;

function worker(id: string, sessions: number, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return workerRecord(id, 3000, {
    incarnation: `${id}AAAABBBBCCCCDDDD`.slice(-16) as Incarnation,
    load: { sessions, connections: 3 * sessions, lagMs: 0.25 },
    resumeVersion: RESUME_VERSION,
    ...more,
  });
}
const W1 = worker("w1", 2);
const W2 = worker("w2", 3);
const W3 = worker("w3", 9);

function record(owner: WorkerRecord, more: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id: ROOM,
    owner: owner.id,
    incarnation: owner.incarnation,
    epoch: EPOCH,
    state: "open",
    userId: "u",
    clock: 2,
    peers: [peer({ host: true }), peer()],
    revokedTokens: [],
    createdMs: CREATED_MS,
    ...more,
  };
}

const history: OwnershipEvent[] = [
  { atMs: CREATED_MS, kind: "created", worker: "w2" as WorkerId, epoch: EPOCH, cause: "create" },
];
interface Scene {
  readonly workers?: readonly WorkerRecord[];
  /** The session in the store. */
  readonly record?: SessionRecord;
  readonly isStoreAway?: boolean;
  /** Of the links to all workers; `open` by default. */
  readonly links?: LinkState;
  /** Earlier events at the balancer. */
  readonly before?: (router: Router) => void;
  readonly about: string;
  readonly as?: Way;
  readonly history?: readonly OwnershipEvent[];
  /** Answers of other balancers. */
  readonly others?: readonly BalancerAnswer[];
}

/** What the command prints on standard output, and what on standard error. */
async function explain(scene: Scene): Promise<{ text: string; problem: string | undefined }> {
  const answer = await explained(scene);
  return { text: explainText(answer), problem: problemOf(answer) };
}

async function explained(scene: Scene): Promise<ExplainAnswer> {
  const workers = scene.workers ?? [W1, W2, W3];
  const clock = createStepClock();
  const view = createView(workers);
  const router = openRouter({
    view,
    clock,
    links: { ...noLinks("off"), state: scene.links ?? "open" },
    random: () => 0,
    findSession: () =>
      scene.isStoreAway === true
        ? Promise.reject(new StoreAwayError("find"))
        : Promise.resolve(scene.record),
  });
  atEnd(() => router.close());
  scene.before?.(router);
  clock.advance(2000);
  const question = askFor(scene.about, scene.as ?? guessWay(scene.about));
  const holder = scene.record === undefined ? undefined : holderOf(scene.record);
  const isAway = scene.isStoreAway === true;
  const discovery = {
    view,
    storeHealth: () => (isAway ? { state: "away" as const, reason: "" } : { state: "up" as const }),
    isRecalled: false,
  };
  const explanation = await explainHead(question.head, holder, { router, discovery, clock });
  const balancers: BalancerAnswer[] = [
    {
      id: "balancer-1",
      outcome: "explained",
      explanation,
      ...follow(explanation, scene.record, workers),
    },
    ...(scene.others ?? []),
  ];
  return describeAnswer(question, {
    members: workers,
    booted: true,
    nowMs: CREATED_MS + 90_000,
    record: question.key === undefined ? undefined : scene.record,
    place: scene.record === undefined ? undefined : view.ring.place(scene.record.id),
    balancers,
    history: scene.history ?? [],
    isFull: false,
  });
}

const fail =
  (id: string, kind: "refused" | "timeout" | "closed") =>
  (router: Router): void =>
    router.byId(id as WorkerId)?.reportFailure(new UpstreamError(kind, refusal(kind)));

function refusal(kind: string): Error | undefined {
  return kind === "refused" ? Object.assign(new Error(), { code: "ECONNREFUSED" }) : undefined;
}

describe("ct-edge explain", () => {
  test("ct-edge explain sends a request for a session to the owner in its record", async () => {
    const { text, problem } = await explain({ about: ROOM, record: record(W2), history });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w2         it owns the session, as the store says now; over the link

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                     STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        chosen                     up     healthy         3            9  0.3 ms  -
      w2      candidate 1  available, but not needed  up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up     healthy         9           27  0.3 ms  -

      Its owners
      TIME                      EVENT    WORKER          EPOCH  CAUSE
      2030-01-01T00:00:00.000Z  created  w2      1893456000000  create
      "
    `);
    expect(problem).toBeUndefined();
  });

  test("ct-edge explain names the worker that a drain would move the session to, and why that one", async () => {
    const line = async (...workers: WorkerRecord[]): Promise<string | undefined> => {
      const { text } = await explain({ about: ROOM, workers, record: record(W2) });
      return /^If drained .*$/m.exec(text)?.[0];
    };
    expect(await line(W1, W2, W3)).toBe("If drained it goes to w1: the next candidate");
    expect(await line(W1, W2, { ...W3, version: "9.0.0" })).toBe(
      "If drained it goes to w3: version 9.0.0, unlike w2",
    );
    expect(await line(W2, { ...W3, state: "suspended" })).toBe(
      "If drained it stays: no other worker accepts sessions",
    );
    expect(await line(W1, W3)).toBeUndefined();
  });

  test("ct-edge explain sends a key that no session has to the first worker of the ring", async () => {
    const { text, problem } = await explain({ about: "team-a" });
    expect(text).toMatchInlineSnapshot(`
      "Request    a request with the header ctstickiness: tea…
      Rule       header
      Session    not in the store

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w2         first of the ring that can take it; no session has the key; over a connection of its own: requests of this path may have large bodies

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                        STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      candidate 1  chosen                        up     healthy         3            9  0.3 ms  -
      w3      candidate 2  available, but not the first  up     healthy         9           27  0.3 ms  -
      w1      candidate 3  available, but not the first  up     healthy         2            6  0.3 ms  -
      "
    `);
    expect(problem).toMatch(/^no session has this key: /);
  });

  test("ct-edge explain sends a new session to no worker above the load cap", async () => {
    const { text, problem } = await explain({ about: "" });
    expect(text).toMatchInlineSnapshot(`
      "Request    a new session without a key
      Rule       none

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w1        w1         the less loaded of two of those below the cap; over the link

      Workers as balancer-1 sees them
      WORKER  AS  STATUS                               STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w1      -   chosen 100 times of 100              up     healthy         2            6  0.3 ms  -
      w2      -   no: busier than all others           up     healthy         3            9  0.3 ms  -
      w3      -   no: over the cap (1.25 of the mean)  up     healthy         9           27  0.3 ms  -
      "
    `);
    expect(problem).toBeUndefined();
  });

  test("ct-edge explain sends a request without a key to the less loaded of two workers, whatever the load cap", async () => {
    const { text } = await explain({ about: "", as: "none" });
    expect(text).toMatchInlineSnapshot(`
      "Request    a request without a key
      Rule       none

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  one of 2  one of 2   the less loaded of two; over a connection of its own: requests of this path may have large bodies

      Workers as balancer-1 sees them
      WORKER  AS  STATUS                      STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w1      -   chosen 67 times of 100      up     healthy         2            6  0.3 ms  -
      w2      -   chosen 33 times of 100      up     healthy         3            9  0.3 ms  -
      w3      -   no: busier than all others  up     healthy         9           27  0.3 ms  -
      "
    `);
  });

  test("ct-edge explain sends a new session to no worker whose event loop is late", async () => {
    const late = { ...W1, load: { ...W1.load, lagMs: 80 } };
    const { text } = await explain({ about: "", workers: [late, W2, { ...W3, load: W2.load }] });
    expect(text).toMatch(/^w1 +- +no: its event loop is late +up +healthy +2 +6 +80.0 ms/m);
    expect(text).toMatch(/^w2 +- +chosen 50 times of 100/m);
  });

  test("ct-edge explain keeps the session of a draining owner there, and sends no other key to it", async () => {
    const workers = [W1, { ...W2, state: "draining" as const }, W3];
    const own = await explain({ about: ROOM, workers, record: record(W2) });
    expect(own.text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w2         it owns the session, as the store says now; over the link

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                     STATE     HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        chosen                     draining  healthy         3            9  0.3 ms  -
      w2      candidate 1  no: draining               draining  healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up        healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up        healthy         9           27  0.3 ms  -
      "
    `);
    const handed = record(W2, { state: "released", successor: W1.id });
    expect((await explain({ about: ROOM, workers, record: handed })).text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, released to w1, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w1         it owns the session, as the store says now; over the link; it answers 421, and the request is sent to w1, which has it

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                     STATE     HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        chosen                     draining  healthy         3            9  0.3 ms  -
      w2      candidate 1  no: draining               draining  healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up        healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up        healthy         9           27  0.3 ms  -
      "
    `);
  });

  test("ct-edge explain sends the session of a dead owner to the next candidate, which takes it over", async () => {
    const workers = [W1, W3];
    const { text } = await explain({ about: ROOM, workers, record: record(W2) });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (gone), epoch 1893456000000, 2 peers, 1m 30s old
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w1        w1         first of the ring that can take it, because the owner w2 is gone; over the link; it takes the session over (lease-gone)

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                        STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        no: gone                      -      -               -            -       -  -
      w1      candidate 1  chosen                        up     healthy         2            6  0.3 ms  -
      w3      candidate 2  available, but not the first  up     healthy         9           27  0.3 ms  -
      "
    `);
  });

  test("ct-edge explain sends the session of a suspect owner to the next candidate, which probes the owner first", async () => {
    const { text, problem } = await explain({
      about: ROOM,
      record: record(W2),
      before: fail("w2", "refused"),
    });
    expect(problem).toMatch(/^it is not served now: it waits or is refused, /);
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w1        -          first of the ring that can take it, because the owner w2 is unhealthy; over the link; it takes the session over once w2 refuses or loses its lease, and waits until then (421: owner not reached)

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                        STATE  HEALTH     SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        no: unhealthy                 up     unhealthy         3            9  0.3 ms  refused, by request, 2s ago
      w2      candidate 1  no: unhealthy                 up     unhealthy         3            9  0.3 ms  refused, by request, 2s ago
      w1      candidate 2  chosen                        up     healthy           2            6  0.3 ms  -
      w3      candidate 3  available, but not the first  up     healthy           9           27  0.3 ms  -
      "
    `);
  });

  test("ct-edge explain sends a sid to the worker that issued it, in any state", async () => {
    const sid = `${workerTag(W3.id, W3.incarnation)}${"s".repeat(24)}`;
    const { text, problem } = await explain({ about: sid, before: fail("w3", "timeout") });
    expect(text).toMatchInlineSnapshot(`
      "Request    a request of an open engine.io connection: dc8a32…
      Rule       sid
      Issued by  w3
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w3        w3         it issued the id and is up; over the link

      Workers as balancer-1 sees them
      WORKER  AS             STATUS                   STATE  HEALTH     SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w3      issued the id  chosen though unhealthy  up     unhealthy         9           27  0.3 ms  no-response, by request, 2s ago
      "
    `);
    expect(problem).toBeUndefined();
  });

  test("ct-edge explain follows the 421 of a worker that is cached as the owner but no longer is", async () => {
    const { text } = await explain({
      about: ROOM,
      record: record(W2, { epoch: EPOCH + 5 }),
      before: (router) => router.learn(ROOM, W1.id, EPOCH),
    });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000005, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w1        w2         it is cached as the owner, in epoch 1893456000000; over the link; it answers 421, and the request is sent to w2, which has it

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                     STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w1      owner        chosen                     up     healthy         2            6  0.3 ms  -
      w2      candidate 1  available, but not needed  up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up     healthy         9           27  0.3 ms  -
      "
    `);
  });

  test("ct-edge explain uses the ring while the store is away, and the worker names the owner", async () => {
    const { text } = await explain({ about: ROOM, record: record(W3), isStoreAway: true });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w3 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w2: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w3         first of the ring that can take it; the store is away, so the owner is unknown; over the link; it answers 421, and the request is sent to w3, which has it

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                        STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      candidate 1  chosen                        up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not the first  up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not the first  up     healthy         9           27  0.3 ms  -

      ! balancer-1: it cannot reach the store.
      "
    `);
  });

  test("ct-edge explain says that no worker can take the request", async () => {
    const workers = [{ ...W1, state: "suspended" as const }];
    const { text, problem } = await explain({
      about: "team-a",
      as: "header",
      workers,
      record: record(W2),
    });
    expect(text).toMatchInlineSnapshot(`
      "Request    a request with the header ctstickiness: tea…
      Rule       header
      Session    R00MR0…, open, owner w2 (gone), epoch 1893456000000, 2 peers, 1m 30s old

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  none      -          no worker can take it: held up to 8 s, then 503

      Workers as balancer-1 sees them
      WORKER  AS           STATUS         STATE      HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        no: gone       -          -               -            -       -  -
      w1      candidate 1  no: suspended  suspended  healthy         2            6  0.3 ms  -
      "
    `);
    expect(problem).toMatch(/^no worker can take it now/);
  });
});

describe("ct-edge explain, on the way to the worker", () => {
  test.each<[LinkState, string]>([
    ["open", "over the link"],
    ["connecting", "over a connection of its own: there is no link now"],
    [
      "unsupported",
      "over a connection of its own: the worker accepts no link (an earlier version, or CT_LINK=off there)",
    ],
    ["off", "over a connection of its own: CT_LINK=off"],
  ])("ct-edge explain names the connection of a join while links are %s", async (links, text) => {
    const answer = await explain({ about: ROOM, record: record(W2), links });
    expect(answer.text).toContain(` it owns the session, as the store says now; ${text}\n`);
  });

  test("ct-edge explain says that a page takes a connection of its own", async () => {
    const { text } = await explain({ about: "team-a" });
    expect(text).toContain(
      "; over a connection of its own: requests of this path may have large bodies\n",
    );
  });

  test("ct-edge explain says nothing of the connection at a balancer of the version before, which does not report it", async () => {
    const answer = await explained({ about: ROOM, record: record(W2) });
    const [balancer] = answer.balancers;
    if (balancer?.outcome !== "explained") throw new Error("not explained");
    const { connection: _, move: __, ...explanation } = balancer.explanation;
    const text = explainText({ ...answer, balancers: [{ ...balancer, explanation }] });
    expect(text).toContain(" it owns the session, as the store says now\n");
    expect(text).not.toContain("In a move");
  });
});

describe("ct-edge explain, on a move of the session", () => {
  const lineOf = (text: string) => /^In a move {2}.*$/m.exec(text)?.[0];

  test.each<[LinkState, string]>([
    ["open", "WebSockets stay open, clients that poll reconnect"],
    ["connecting", "all clients reconnect: there is no link now"],
    [
      "unsupported",
      "all clients reconnect: the worker accepts no link (an earlier version, or CT_LINK=off there)",
    ],
    ["off", "all clients reconnect: CT_LINK=off"],
  ])(
    "ct-edge explain says what clients notice of a move while links are %s",
    async (links, notice) => {
      for (const about of [ROOM, "team-a"]) {
        const { text } = await explain({ about, record: record(W2), links });
        expect(lineOf(text)).toBe(`In a move  ${notice}`);
      }
    },
  );

  test("ct-edge explain says that a worker of another version cannot give its WebSockets away", async () => {
    const former = { ...W2, resumeVersion: undefined };
    const workers = [W1, former, W3];
    const { text } = await explain({ about: ROOM, record: record(former), workers });
    expect(lineOf(text)).toBe("In a move  all clients reconnect: the worker is of another version");
  });

  test("ct-edge explain says it for each balancer when they differ on a move, and not of a session that does not exist", async () => {
    const { balancers } = await explained({ about: ROOM, record: record(W2), links: "off" });
    const others = balancers.map((one) => ({ ...one, id: "balancer-2" }));
    const { text } = await explain({ about: ROOM, record: record(W2), others });
    expect(lineOf(text)).toBe(
      "In a move  through balancer-1 WebSockets stay open, clients that poll reconnect; through balancer-2 all clients reconnect: CT_LINK=off",
    );
    const closed = record(W2, { state: "closed" });
    for (const scene of [{ about: ROOM, record: closed }, { about: "team-a" }, { about: "" }]) {
      expect(lineOf((await explain(scene)).text)).toBeUndefined();
    }
  });
});

describe("ct-edge explain, beyond the rules", () => {
  test("ct-edge explain shows that the owner has reached its request limit", async () => {
    const { text, problem } = await explain({
      about: ROOM,
      record: record(W2),
      before(router) {
        const owner = router.byId(W2.id);
        if (owner !== undefined) owner.requests = 1000;
      },
    });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        -          it owns the session, as the store says now; over the link; it has reached its request limit: 503

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                           STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        chosen; full                     up     healthy         3            9  0.3 ms  -
      w2      candidate 1  available, but not needed; full  up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed        up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed        up     healthy         9           27  0.3 ms  -
      "
    `);
    expect(problem).toMatch(/^it is not served now: it waits or is refused, /);
  });

  test("ct-edge explain shows a balancer that decides differently, and one that does not answer", async () => {
    const { balancers } = await explained({
      about: ROOM,
      record: record(W2),
      before: (router) => router.learn(ROOM, W1.id, EPOCH),
    });
    const others: BalancerAnswer[] = [
      ...balancers.map((one) => ({ ...one, id: "balancer-2" })),
      { id: "balancer-3", outcome: "no answer", message: "no answer within 6 s: it hangs" },
    ];
    const { text, problem } = await explain({ about: ROOM, record: record(W2), others });
    expect(text).toMatchInlineSnapshot(`
      "Request    a join of the session: R00MR0…
      Rule       room
      Session    R00MR0…, open, owner w2 (lives), epoch 1893456000000, 2 peers, 1m 30s old
      If drained it goes to w1: the next candidate
      In a move  WebSockets stay open, clients that poll reconnect

      BALANCER    SENDS TO  SERVED BY  WHY
      balancer-1  w2        w2         it owns the session, as the store says now; over the link
      balancer-2  w1        w2         it is cached as the owner, in epoch 1893456000000; over the link; it answers 421, and the request is sent to w2, which has it
      balancer-3  ?         ?          no answer within 6 s: it hangs

      Workers as balancer-1 sees them
      WORKER  AS           STATUS                     STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w2      owner        chosen                     up     healthy         3            9  0.3 ms  -
      w2      candidate 1  available, but not needed  up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up     healthy         9           27  0.3 ms  -

      Workers as balancer-2 sees them
      WORKER  AS           STATUS                     STATE  HEALTH   SESSIONS  CONNECTIONS     LAG  LAST FAILURE
      w1      owner        chosen                     up     healthy         2            6  0.3 ms  -
      w2      candidate 1  available, but not needed  up     healthy         3            9  0.3 ms  -
      w1      candidate 2  available, but not needed  up     healthy         2            6  0.3 ms  -
      w3      candidate 3  available, but not needed  up     healthy         9           27  0.3 ms  -

      ! balancer-3: did not explain what it does with the request.
      "
    `);
    expect(problem).toBeUndefined();
  });

  test("ct-edge explain says what to do when no balancer answers, and when the session is closed", async () => {
    const answer = await explained({ about: ROOM, record: record(W2) });
    expect(problemOf({ ...answer, balancers: [] })).toMatch(/^no balancer has a lease, /);
    const silent = { id: "b1", outcome: "no answer", message: "no answer within 6 s" } as const;
    expect(problemOf({ ...answer, balancers: [silent] })).toBe(
      "no balancer answered: b1: no answer within 6 s; see its log, or restart it",
    );
    const closed = await explained({ about: ROOM, record: record(W2, { state: "closed" }) });
    expect(problemOf(closed)).toMatch(/^the session is closed; /);
  });
});

describe("the key of ct-edge explain", () => {
  test("the key of ct-edge explain is taken for a sid, a room or a header by its form", () => {
    expect(guessWay("")).toBe("create");
    expect(guessWay("0123456789abcdefAAAAAAAAAAAAAAAAAAAAAAAA")).toBe("sid");
    expect(guessWay(ROOM)).toBe("room");
    expect(guessWay("team-a")).toBe("header");
  });

  test.each<[Way, string]>([
    ["header", "team a"],
    ["cookie", "été"],
    ["path", "a/b c%é"],
    ["room", ROOM],
    ["claim", ROOM],
  ])(
    "the key of ct-edge explain is found in a request by the rule %s, byte by byte",
    (way, about) => {
      const { key } = askFor(about, way);
      expect(Buffer.from(key ?? "", "latin1").toString("utf8")).toBe(about);
    },
  );

  test.each<[Way, string, RegExp]>([
    ["header", "a\u0001b", /^a\\u0001b: a request cannot carry this key; use 1 to 8192 bytes/],
    ["header", '"quoted"', /no blanks or quotes around it$/],
    ["header", " blank", /no blanks or quotes around it$/],
    ["header", "x".repeat(8193), /^x{80}…: a request cannot carry this key; use 1 to 8192 bytes/],
    ["cookie", "x;y", /^x;y: a request cannot carry this key; .* no semicolon/],
    ["room", "../etc/passwd", /not a session id; it has 24 letters and digits/],
    ["claim", "short", /not a session id/],
    [
      "sid",
      "short",
      /not an id that a worker issued; such an id begins with 16 hexadecimal digits/,
    ],
    ["sid", "x&sid=0123456789abcdef", /not an id that a worker issued/],
    ["token", "../0123456789abcdef", /not an id that a worker issued/],
    ["header", "", /^--as header needs a key, a room or a sid as its argument$/],
    ["create", "x", /^--as create is a request without a key; leave the argument out$/],
  ])(
    "the key of ct-edge explain as %s is refused when no request can carry it: %j",
    (way, about, message) => {
      expect(() => askFor(about, way)).toThrow(message);
    },
  );
});
