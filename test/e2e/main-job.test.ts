/**
 * The main job: unmodified clients share sessions through one edge on one machine.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { type MainJob, type MainJobReport, playMainJob } from "../support/main-job.ts";
import { everybodyHears, openSession, person } from "../support/people.ts";
import { PROTOCOL_PACKAGES } from "../support/protocols.ts";
import { dutiesOf } from "../support/status.ts";
import { until } from "../support/until.ts";

const NINE = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => `Guest ${number}`);
const TEN = ["Host", ...NINE];

/** Shorter than a test may take, so that the process ends first and shows why. */
const MAIN_JOB_TIMEOUT_MS = 25_000;

let edge: EdgeProcess;

beforeAll(async () => {
  edge = await startEdge();
});

// --- two ---

test("two people sign in, share a session, talk, edit one document and leave, over HTTP", async () => {
  const at = { baseUrl: edge.httpUrl };
  expectTwo(await playMainJob({ host: at, guests: at, guestCount: 1 }));
});

test("two people do the main job over HTTPS, with the edge's self-signed certificate", async () => {
  const at = { baseUrl: edge.httpsUrl };
  expectTwo(await playTrusting({ host: at, guests: at, guestCount: 1 }));
});

test("two people do the main job with a ctstickiness header", async () => {
  const at = { baseUrl: edge.httpUrl, headers: { ctstickiness: "team=blue; sprint 7" } };
  expectTwo(await playMainJob({ host: at, guests: at, guestCount: 1 }));
});

test("two people do the main job through a base URL with a key in its path", async () => {
  const at = { baseUrl: `${edge.httpUrl}/k/team-blue` };
  expectTwo(await playMainJob({ host: at, guests: at, guestCount: 1 }));
});

test("two people do the main job through a base URL with a key in its path, over HTTPS", async () => {
  const at = { baseUrl: `${edge.httpsUrl}/k/team-green` };
  expectTwo(await playTrusting({ host: at, guests: at, guestCount: 1 }));
});

test("a guest with the key in a header joins a host who has it in the path", async () => {
  expectTwo(
    await playMainJob({
      host: { baseUrl: `${edge.httpUrl}/k/team-red` },
      guests: { baseUrl: edge.httpUrl, headers: { ctstickiness: "team-red" } },
      guestCount: 1,
    }),
  );
});

test("a guest without a key joins a host who used one", async () => {
  expectTwo(
    await playMainJob({
      host: { baseUrl: `${edge.httpUrl}/k/team-white` },
      guests: { baseUrl: edge.httpUrl },
      guestCount: 1,
    }),
  );
});

test("people who share a server URL with a key can have several sessions", async () => {
  const at = { baseUrl: `${edge.httpUrl}/k/team-black` };
  const first = await openSession({ ...at, guestCount: 1 });
  const second = await openSession({ ...at, guestCount: 1 });
  expect(second.sessionId).not.toBe(first.sessionId);

  await first.host.leave();
  // The key leads to the first session's worker; only the second session's id leads to its own.
  const late = person({ ...at, name: "Late" });
  await late.join(second.sessionId);
  await everybodyHears(late, [second.host, ...second.guests], "this one goes on");
});

test.each(PROTOCOL_PACKAGES)(
  "two people do the main job with protocol package %s",
  async (protocol) => {
    const at = { baseUrl: edge.httpUrl, protocol };
    expectTwo(await playMainJob({ host: at, guests: at, guestCount: 1 }));
  },
);

test.each(PROTOCOL_PACKAGES)(
  "two people do the main job with protocol package %s behind a key in the path",
  async (protocol) => {
    // Older packages have the socket at the root and the path as its namespace. socket.io shares one connection between
    // the namespaces of a host, so this test uses a host name of its own and one namespace.
    const at = { baseUrl: `http://localhost:${edge.httpPort}/k/team-grey`, protocol };
    expectTwo(await playMainJob({ host: at, guests: at, guestCount: 1 }));
  },
);

test("people with the oldest and the newest protocol package share a session, either way round", async () => {
  const old = { baseUrl: edge.httpUrl, protocol: "0.3.0" } as const;
  const current = { baseUrl: edge.httpUrl };
  expectTwo(await playMainJob({ host: old, guests: current, guestCount: 1 }));
  expectTwo(await playMainJob({ host: current, guests: old, guestCount: 1 }));
});

function expectTwo(report: MainJobReport): void {
  const lines = [
    ...["Guest 1, line 1", "Guest 1, line 2", "Guest 1, line 3"],
    ...["Host, line 1", "Host, line 2", "Host, line 3"],
  ];
  expect(report).toEqual({
    sessionId: expect.stringMatching(/^[A-Za-z0-9]{24}$/) as string,
    joinRequests: ["Guest 1"],
    initialized: { "Guest 1": ["Host"] },
    answers: { Host: "Guest 1:src/main.ts", "Guest 1": "Host:src/main.ts" },
    told: { Host: ["Guest 1: for the host only"], "Guest 1": ["Host: for one guest only"] },
    heard: { Host: ["Guest 1: for everybody"], "Guest 1": ["Host: for everybody"] },
    documents: { Host: lines, "Guest 1": lines },
    documentsEqual: true,
    sawLeave: { Host: [], "Guest 1": [] },
    sawClose: ["Guest 1"],
  } satisfies MainJobReport);
}

// --- ten ---

test("ten people share a session over HTTP", async () => {
  const at = { baseUrl: edge.httpUrl };
  expectTen(await playMainJob({ host: at, guests: at, guestCount: 9 }));
});

test("ten people share a session over HTTPS", async () => {
  const at = { baseUrl: edge.httpsUrl };
  expectTen(await playTrusting({ host: at, guests: at, guestCount: 9 }));
});

function expectTen(report: MainJobReport): void {
  expect(report.joinRequests).toEqual(NINE);
  expect(report.initialized["Guest 1"]).toEqual(["Host"]);
  expect(report.initialized["Guest 9"]).toEqual([...NINE.slice(0, 8), "Host"]);
  expect(report.answers).toEqual({
    Host: "Guest 1:src/main.ts",
    ...Object.fromEntries(NINE.map((name) => [name, "Host:src/main.ts"])),
  });
  expect(report.told["Host"]).toEqual(NINE.map((name) => `${name}: for the host only`));
  for (const name of NINE) expect(report.told[name]).toEqual(["Host: for one guest only"]);
  for (const name of TEN) {
    const others = TEN.filter((other) => other !== name);
    expect(report.heard[name]).toEqual(others.map((other) => `${other}: for everybody`).sort());
    expect(report.documents[name]).toHaveLength(30);
    expect(new Set(report.documents[name]).size).toBe(30);
  }
  expect(report.documentsEqual).toBe(true);
  const staying = TEN.filter((name) => name !== "Guest 1");
  expect(report.sawLeave).toEqual(Object.fromEntries(staying.map((name) => [name, ["Guest 1"]])));
  expect(report.sawClose).toEqual(NINE.slice(1));
}

// --- placement ---

test("sessions are distributed over both workers, and all peers of a session are on the same worker", async () => {
  const sessions = [];
  for (let count = 0; count < 6; count++) {
    sessions.push(await openSession({ baseUrl: edge.httpUrl, guestCount: 1 }));
  }
  const hosted = await until("both workers host sessions", async () => {
    const byWorker = await dutiesOf(edge);
    return byWorker.every((worker) => worker.sessionIds.length > 0) && byWorker;
  });
  expect(hosted.map((worker) => worker.id)).toEqual(["worker-1", "worker-2"]);
  for (const { sessionId } of sessions) {
    expect(hosted.filter((worker) => worker.sessionIds.includes(sessionId))).toHaveLength(1);
  }
});

// --- approval ---

test("a guest whom the host rejects gets the protocol's error, and the session continues", async () => {
  const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  host.decide = (user) => (user.name === "Stranger" ? "reject" : "approve");

  const stranger = person({ baseUrl: edge.httpUrl, name: "Stranger" });
  await expect(stranger.join(sessionId)).rejects.toMatchObject({ code: "JoinRejected" });

  const friend = person({ baseUrl: edge.httpUrl, name: "Friend" });
  await friend.join(sessionId);
  expect(host.joinRequests.map((user) => user.name)).toEqual(["Guest 1", "Stranger", "Friend"]);
  expect(host.joined.map((peer) => peer.name)).toEqual(["Guest 1", "Friend"]);
});

test("a guest whom the host does not answer is told to wait, and may give up", async () => {
  const { sessionId, host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 0 });
  host.decide = () => "never answer";
  const guest = person({ baseUrl: edge.httpUrl, name: "Patient" });
  await guest.login();
  const told: string[] = [];
  const giveUp = new AbortController();

  const joining = guest.provider.joinRoom({
    roomId: sessionId,
    abortSignal: giveUp.signal,
    reporter: (info) => told.push(info.code),
  });
  const outcome = expect(joining).rejects.toThrow();
  await until("the guest is told to wait for the host", () => told.includes("WaitingForHost"));
  giveUp.abort();
  await outcome;

  expect(host.joined).toEqual([]);
});

test("the host sees who wants to join", async () => {
  const { host } = await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  expect(host.joinRequests).toEqual([
    expect.objectContaining({ name: "Guest 1", authProvider: "Unverified" }),
  ]);
  expect(host.joined).toEqual([expect.objectContaining({ name: "Guest 1", host: false })]);
});

test("a guest who leaves and closes at the same moment is announced as gone at once", async () => {
  const { host, guests } = await openSession({ baseUrl: edge.httpUrl, guestCount: 2 });
  await guests[0]?.connection.room.leave();
  await guests[0]?.close();
  // Without the leave message, which socket.io drops when its sender is gone, this would take 30 s.
  await until(
    "the others see the guest leave",
    () => [host, guests[1]].every((client) => client?.left.length === 1),
    5000,
  );
});

// --- clients that trust the edge's certificate ---

/** Runs the main job in a process that trusts the edge's certificate. */
async function playTrusting(job: MainJob): Promise<MainJobReport> {
  const program = fileURLToPath(new URL("../support/main-job-process.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", program, JSON.stringify(job)],
    {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: edge.certificateFile },
      timeout: MAIN_JOB_TIMEOUT_MS,
    },
  );
  return JSON.parse(stdout) as MainJobReport;
}
