/** The values and tables of the commands that read the store; the commands as processes: test/e2e/commands.test.ts. */
import { describe, expect, test } from "vitest";
import { describeEvent, eventsTable, pickSession } from "../../edge/commands/cluster/events.ts";
import { describeMembers, listTable } from "../../edge/commands/cluster/list.ts";
import { findGuest } from "../../edge/commands/cluster/remove.ts";
import {
  describeSession,
  type SessionsResponse,
  sessionsTable,
} from "../../edge/commands/cluster/sessions.ts";
import { shortKey } from "../../edge/output/format.ts";
import { table } from "../../edge/output/table.ts";
import { formatAge } from "../../shared/base/age.ts";
import type { Incarnation, SessionId, SessionKey, WorkerId } from "../../shared/base/ids.ts";
import type { ReportedResumes } from "../../shared/cluster/resume-reports.ts";
import type { ReportedLinks } from "../../shared/cluster/status-reports.ts";
import { cut, escapeForTerminal, escapeJson } from "../../shared/logs/escape.ts";
import { onlyUser } from "../../shared/sign-ins/only-user.ts";
import type { MemberRecord } from "../../shared/store/member.ts";
import type { Membership, SessionRecord, StoredEvent } from "../../shared/store/store.ts";
import { balancer, peer, worker } from "../contract/store.ts";

const INCARNATION = "AAAABBBBCCCCDDDD" as Incarnation;
const CREATED_MS = 1_700_000_000_000;
/** Clears the screen, sets the title, reverses the writing direction, with 7-bit and 8-bit controls. */
const HOSTILE = "\u001b[2J\u001b]0;x\u0007\u009b31m\u202eevil\u2028\r\n\u0000\u007f\ufeff";

describe("untrusted text", () => {
  test("untrusted text is shown without characters that control a terminal or forge a line", () => {
    expect(escapeForTerminal(HOSTILE)).toBe(
      "\\u001b[2J\\u001b]0;x\\u0007\\u009b31m\\u202eevil\\u2028\\u000d\\u000a\\u0000\\u007f\\ufeff",
    );
    expect(escapeForTerminal("\ud800 half, \u{e0041} tag")).toBe(
      "\\ud800 half, \\udb40\\udc41 tag",
    );
  });

  test("untrusted text keeps the letters of every language, and emoji", () => {
    const names = "Zoë, 明, می‌خواهم, 👩‍💻";
    expect(escapeForTerminal(names)).toBe(names);
  });

  test("untrusted text is cut between characters, however long it is", () => {
    expect(cut("abc", 3)).toBe("abc");
    expect(cut("abcd", 3)).toBe("abc…");
    expect(cut("👩👩👩👩", 3)).toBe("👩👩👩…");
    expect(cut("👩👩👩", 3)).toBe("👩👩👩");
    expect(escapeForTerminal("x".repeat(1_000_000))).toBe(`${"x".repeat(200)}…`);
  });

  test("untrusted text keeps its value in JSON, with escapes that are safe on a terminal", () => {
    const value = { name: HOSTILE, list: ["\u{e0041}"] };
    for (const text of [escapeJson(value), escapeJson(value, 2)]) {
      expect(JSON.parse(text)).toEqual(value);
      expect(text.replaceAll("\n", "")).toMatch(/^[\x20-\x7e]+$/);
    }
    expect(escapeJson(value)).not.toContain("\n");
  });
});

describe("a session key", () => {
  test("a session key is shown by its beginning, never by more than half of it", () => {
    expect(shortKey("ABCDEFGHIJKLMNOPQRSTUVWX")).toBe("ABCDEF…");
    expect(shortKey("team-a")).toBe("tea…");
    expect(shortKey("x")).toBe("…");
  });
});

test("an age has two units at most", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  expect([-5, 999, 59 * second, minute, 90 * second, hour + 59 * second].map(formatAge)).toEqual([
    "0s",
    "0s",
    "59s",
    "1m",
    "1m 30s",
    "1h",
  ]);
  expect(formatAge(25 * hour + 61 * minute)).toBe("1d 2h");
});

test("a table is aligned, and a cell cannot leave it", () => {
  const rows = [
    ["worker-10", "7", "a\nb"],
    ["w", "1000000", ""],
  ];
  expect(table("ID | >COUNT | NAME", rows)).toBe(
    ["ID           COUNT  NAME", "worker-10        7  a\\u000ab", "w          1000000  -", ""].join(
      "\n",
    ),
  );
});

test("a table may have a million rows", () => {
  const rows = Array.from({ length: 1_000_000 }, () => ["x"]);
  expect(table("ID", rows)).toHaveLength(3 + 2 * 1_000_000);
});

describe("ct-edge list", () => {
  test("ct-edge list shows each balancer and worker with the values of its record", () => {
    const members = [busy("worker-2"), busy("worker-1"), balancerWith("r1")];
    const text = listTable(listOf(members, { links: [{ "worker-1": OPEN }], waiting: 2 }));
    expect(text).toBe(
      [
        "KIND      ID          STATE  SESSIONS  CONNECTIONS     LAG  LINK  STREAMS  WAITING  INCARNATION  RING  VERSION  URL",
        "balancer  balancer-1  -             -            -       -  -           -        2  AAAABBBB     r1    1.2.3    -",
        "worker    worker-1    up            3           12  1.5 ms  open       13        -  AAAABBBB     r1    1.2.3    http://127.0.0.1:3001",
        "worker    worker-2    up            3           12  1.5 ms  -           -        -  AAAABBBB     r1    1.2.3    http://127.0.0.1:3001",
        "",
      ].join("\n"),
    );
    // On a narrow terminal, what follows is on the next line.
    expect(text.indexOf("WAITING")).toBeLessThan(80);
  });

  test("ct-edge list has the links of all balancers to a worker, the state where it is worst", () => {
    const connecting: ReportedLinks = { ...OPEN, state: "connecting", links: 0, streams: 0 };
    const answer = listOf([busy("worker-1"), busy("worker-2"), busy("worker-3")], {
      links: [
        { "worker-1": OPEN, "worker-2": connecting, "worker-3": { ...connecting, state: "off" } },
        { "worker-1": OPEN, "worker-2": OPEN, "worker-3": { ...connecting, state: "off" } },
      ],
    });
    expect(answer.workers.map(({ link }) => link)).toMatchObject([
      { state: "open", open: 2, balancers: 2, links: 2, streams: 26, framesIn: 200, resets: 4 },
      { state: "connecting", open: 1, balancers: 2, links: 1, streams: 13 },
      { state: "off", open: 0, balancers: 2, links: 0, streams: 0 },
    ]);
    const cells = listTable(answer).match(/(?<=ms {2})\w.*?(?= +- +AAAA)/g);
    expect(cells?.map((cell) => cell.replace(/ +/g, " "))).toEqual([
      "open 26",
      "connecting (1 of 2 open) 13",
      "off 0",
    ]);
  });

  test("ct-edge list has no links where no balancer reports them, as in the version before", () => {
    expect(listOf([busy("worker-1")]).workers[0]?.link).toBeNull();
    expect(listOf([busy("worker-1")], { links: [{}] }).workers[0]?.link).toBeNull();
  });

  test("ct-edge list has the WebSockets that wait at a balancer, and nothing where it does not report them", () => {
    const waitingOf = (more: Parameters<typeof listOf>[1]) =>
      listOf([balancerWith("r1")], more).balancers.map(({ waiting }) => waiting);
    expect(waitingOf({ links: [{}], waiting: 0 })).toEqual([0]);
    expect(waitingOf({ links: [{}] })).toEqual([null]);
    expect(waitingOf({})).toEqual([null]);
  });

  test("ct-edge list says that no member has a lease", () => {
    expect(listTable(listOf([]))).toBe("No balancer and no worker has a lease.\n");
  });

  test("ct-edge list marks the member whose ring differs from the majority, and names it", () => {
    const answer = listOf([busy("worker-1"), busy("worker-2", "r2"), balancerWith("r1")]);
    expect(answer.ringFingerprint).toBe("r1");
    expect(answer.workers.map(({ ringDiffers }) => ringDiffers)).toEqual([false, true]);
    const [, first, second, third, note] = listTable(answer).split("\n");
    expect(first).toContain(" r1 ");
    expect(second).toContain(" r1 ");
    expect(third).toContain(" r2 ! ");
    expect(note).toBe(
      "! Ring differs from the majority: worker-2; if this persists, the same key is routed to different workers: check that all processes run the same version and reach the same store.",
    );
  });

  test("ct-edge list marks every member on a tie of rings, and says that no ring has a majority", () => {
    const answer = listOf([busy("worker-1"), busy("worker-2", "r2")]);
    expect(answer.ringFingerprint).toBeNull();
    expect(answer.workers.map(({ ringDiffers }) => ringDiffers)).toEqual([true, true]);
    expect(listTable(answer)).toContain("! Rings differ and none has a majority; ");
  });

  test("ct-edge list does not mark a member that has not seen a ring yet", () => {
    const answer = listOf([busy("worker-1", ""), busy("worker-2"), balancerWith("r1")]);
    expect(answer.workers.map(({ ringDiffers }) => ringDiffers)).toEqual([false, false]);
    expect(listOf([busy("worker-1", "")]).ringFingerprint).toBeNull();
  });

  test("ct-edge list counts member records that cannot be parsed, and says when the store is new", () => {
    const text = listTable(listOf([], { ignored: 2, booted: false }));
    expect(text).toMatch(
      /^! Member records in the store that cannot be parsed and are not shown: 2; /m,
    );
    expect(text).toMatch(/^! The store is new or was just emptied: /m);
  });

  test("ct-edge list escapes records that would control the terminal", () => {
    const hostile = { ...busy("worker-1"), version: HOSTILE, url: "http://\u001b[2J:1" };
    expect(listTable(listOf([hostile]))).toMatch(/^[\x20-\x7e\n]+$/);
  });
});

describe("ct-edge sessions", () => {
  const owner = worker("worker-1", INCARNATION);
  const host = peer({ host: true, user: { id: "1", name: "Ada" }, client: "ide/1" });

  function describeIt(more: Partial<SessionRecord>, members: MemberRecord[] = [owner]) {
    const membership: Membership = { members, ignored: 0, booted: true };
    const nowMs = CREATED_MS + 90_000;
    return describeSession(session(more), { membership, nowMs, isFull: false });
  }

  function tableOf(more: Partial<SessionRecord>, members?: MemberRecord[]): string {
    const described = describeIt(more, members);
    return sessionsTable(answerOf({ sessions: described === undefined ? [] : [described] }));
  }

  test("ct-edge sessions shows sessions with their owner and people, the host first, keys by their beginning", () => {
    const guest = peer({ user: { id: "2", name: "Bob" } });
    const alias = "the secret key" as SessionKey;
    expect(tableOf({ peers: [guest, host], alias })).toBe(
      [
        "SESSION  STATE  OWNER     EPOCH     AGE  HOSTS  GUESTS  ALIAS    NAMES",
        "ABCDEF…  open   worker-1      7  1m 30s      1       1  the se…  Ada, Bob",
        "",
      ].join("\n"),
    );
  });

  test("ct-edge sessions has values for programs, with keys by their beginning", () => {
    expect(
      describeIt({ peers: [host], state: "released", successor: "worker-2" as WorkerId }),
    ).toEqual({
      id: "ABCDEF…",
      state: "released",
      owner: "worker-1",
      ownerState: "lives",
      successor: "worker-2",
      // The name of the version before.
      heir: "worker-2",
      epoch: 7,
      createdMs: CREATED_MS,
      ageMs: 90_000,
      peers: [{ id: host.id, name: "Ada", host: true, client: "ide/1" }],
    });
  });

  test("ct-edge sessions shows that an owner is gone or was restarted, and the successor of a released session", () => {
    expect(tableOf({}, [])).toContain(" worker-1 (gone) ");
    expect(tableOf({}, [worker("worker-1")])).toContain(" worker-1 (restarted) ");
    const successor = "worker-2" as WorkerId;
    expect(tableOf({ state: "released", successor })).toContain(" released to worker-2 ");
  });

  test("ct-edge sessions leaves out a session that was closed since its id was read", () => {
    expect(describeIt({ state: "closed" })).toBeUndefined();
    expect(tableOf({ state: "closed" })).toBe("No sessions.\n");
  });

  test("ct-edge sessions names a few people, with their names cut and escaped", () => {
    const crowd = Array.from({ length: 50 }, (_, i) =>
      peer({ user: { id: `${i}`, name: `N${i}` } }),
    );
    expect(tableOf({ peers: crowd })).toMatch(/ N0, N1, N2, N3, N4 and 45 more\n$/);
    const evil = peer({ user: { id: "x", name: HOSTILE } });
    const text = tableOf({
      peers: [evil, peer({ user: { id: "y", name: "n".repeat(1000) } }), host],
    });
    expect(text).not.toMatch(/[^\P{Cc}\n]|[\u2028\u202e]/u);
    expect(text.split("\n")).toHaveLength(3);
    expect(text).toContain(" Ada, \\u001b[2J");
    expect(text).toContain(`, ${"n".repeat(40)}…\n`);
  });

  test("ct-edge sessions says when not all sessions are listed, and when records cannot be parsed", () => {
    const text = sessionsTable(answerOf({ total: 12, ignored: 3, settled: false }));
    expect(text).toContain("0 of 12 sessions are listed; use --limit to list more.\n");
    expect(text).toMatch(
      /^! Session records in the store that cannot be parsed and are not shown: 3; /m,
    );
    expect(text).toMatch(/^! The store is new /m);
  });
});

describe("ct-edge events", () => {
  const event: StoredEvent = {
    kind: "resumed",
    sessionId: "ABCDEFGHIJKLMNOPQRSTUVWX" as SessionId,
    worker: "worker-1" as WorkerId,
    epoch: 7,
    cause: "lease-gone",
    atMs: CREATED_MS,
  };

  test("ct-edge events shows each event on a line", () => {
    expect(eventsTable([describeEvent(event, false)])).toBe(
      [
        "TIME                      EVENT    SESSION  WORKER    EPOCH  CAUSE",
        "2023-11-14T22:13:20.000Z  resumed  ABCDEF…  worker-1      7  lease-gone",
        "",
      ].join("\n"),
    );
    expect(eventsTable([])).toBe("No events.\n");
  });

  test("ct-edge events shows whole keys only with --full, and invalid times as they are", () => {
    expect(describeEvent(event, true).session).toBe("ABCDEFGHIJKLMNOPQRSTUVWX");
    expect(describeEvent({ ...event, atMs: 1e300 }, false).at).toBe("1e+300");
  });

  test("ct-edge events finds the one session whose id begins with the given prefix", () => {
    const ids = ["ABCDEFGHIJKLMNOPQRSTUVWX", "ABCDEFzzzzzzzzzzzzzzzzzz"] as SessionId[];
    expect(pickSession("ABCDEFG", [...ids, ...ids])).toBe(ids[0]);
    expect(() => pickSession("ABCDEF", ids)).toThrow(
      "2 session ids begin with ABCDEF: ABCDEFGHIJ…, ABCDEFzzzz…; give more characters (--full shows whole ids)",
    );
    expect(() => pickSession("x", ids)).toThrow("no session id begins with x; ");
  });
});

// --- values ---

function busy(id: string, ringFingerprint = "r1"): MemberRecord {
  const load = { sessions: 3, connections: 12, lagMs: 1.5 };
  return { ...worker(id, INCARNATION), load, ringFingerprint };
}

function balancerWith(ringFingerprint: string): MemberRecord {
  return { ...balancer("balancer-1"), incarnation: INCARNATION, ringFingerprint };
}

const OPEN: ReportedLinks = {
  state: "open",
  links: 1,
  streams: 13,
  framesIn: 100,
  framesOut: 90,
  bytesIn: 5000,
  bytesOut: 4000,
  stalls: 1,
  resets: 2,
  errors: 0,
};

const NO_RESUMES: ReportedResumes = {
  waiting: 0,
  moved: 0,
  crashed: 0,
  closed: {},
  messages: 0,
  repeats: 0,
  gaps: [],
};

/** `links`: what each balancer reports, by worker. */
function listOf(
  members: MemberRecord[],
  more: Partial<Membership> & {
    links?: readonly Record<string, ReportedLinks>[];
    waiting?: number;
  } = {},
) {
  const { links = [], waiting, ...membership } = more;
  const views = links.map((byWorker, index) => ({
    id: `balancer-${index + 1}`,
    view: {
      role: "balancer" as const,
      uptimeMs: 1,
      rssBytes: 1,
      connections: 1,
      tunnels: 1,
      ...(waiting !== undefined && { resumes: { ...NO_RESUMES, waiting } }),
      workers: ["worker-1", "worker-2", "worker-3"].map((id) => ({
        id,
        status: "healthy" as const,
        ...(byWorker[id] !== undefined && { link: byWorker[id] }),
      })),
    },
  }));
  return describeMembers({ members, ignored: 0, booted: true, ...membership }, views);
}

function session(more: Partial<SessionRecord>): SessionRecord {
  return {
    id: "ABCDEFGHIJKLMNOPQRSTUVWX" as SessionId,
    owner: "worker-1" as WorkerId,
    incarnation: INCARNATION,
    epoch: 7,
    state: "open",
    userId: "user",
    clock: 0,
    peers: [],
    revokedTokens: [],
    createdMs: CREATED_MS,
    ...more,
  };
}

function answerOf(more: Partial<SessionsResponse>): SessionsResponse {
  return { sessions: [], total: more.sessions?.length ?? 0, ignored: 0, settled: true, ...more };
}

describe("ct-edge remove", () => {
  const host = peer({ host: true, user: { id: "x", name: "Ada" } });
  const ben = peer({ user: { id: "y", name: "Ben" } });
  const otherBen = peer({ user: { id: "z", name: "Ben" } });

  test("ct-edge remove finds a guest by name, or by id where several have that name", () => {
    expect(findGuest({ peers: [host, ben] }, "Ben")).toBe(ben);
    expect(findGuest({ peers: [host, ben, otherBen] }, otherBen.id)).toBe(otherBen);
  });

  test.each([
    ["Ben", [host, ben, otherBen], /several people are called Ben; give the id of one of them/],
    ["Cleo", [host, ben], /nobody called Cleo is in the session; its guests: Ben \(\w{24}\)/],
    ["Cleo", [host], /it has no guests/],
    ["Ada", [host, ben], /is the host/],
    ["\u001b[2J", [host], /nobody called \\/],
  ])("ct-edge remove says who is there when %j cannot be removed", (person, peers, message) => {
    expect(() => findGuest({ peers }, person)).toThrow(message);
  });
});

describe("ct-edge sign-out", () => {
  const ada = { user: { id: "u1", name: "Ada", email: "ada@example.com" } };
  const other = { user: { id: "u2", name: "Ada" } };

  test("ct-edge sign-out finds the one person whose sign-ins these are", () => {
    expect(onlyUser([ada, ada], "Ada")).toBe(ada.user);
  });

  test.each([
    ["Ada", [ada, other], /several people are called Ada; give .* of them: ada@example\.com, u2/],
    ["\u001b[2J", [], /nobody called \\/],
  ])("ct-edge sign-out says what to give when %j is not one person", (person, signIns, message) => {
    expect(() => onlyUser(signIns, person)).toThrow(message);
  });
});
