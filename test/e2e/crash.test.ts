/**
 * A worker of one machine is killed while it hosts many people.
 */
import { expect, test } from "vitest";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import {
  type LightPeer,
  type LightTeam,
  type LightTeams,
  openLightTeams,
} from "../support/light-teams.ts";
import { countOf, dutiesOf } from "../support/status.ts";
import { until } from "../support/until.ts";

const TEAMS = 60;

interface Killed {
  readonly edge: EdgeProcess;
  readonly all: LightTeams;
  /** Those of the killed worker. */
  readonly moved: readonly LightTeam[];
  readonly people: readonly LightPeer[];
  /** Of each of them, how often its client has tried to reconnect. */
  readonly attempts: () => readonly number[];
}

/** Kills one of two workers; resolves when the other one has its sessions, and it is up again. */
async function killWorker(env: Readonly<Record<string, string>>): Promise<Killed> {
  const edge = await startEdge({
    env: { CT_WORKER_COUNT: "2", CT_MAX_SESSIONS_PER_USER: "1000", CT_LOGIN_SIMPLE: "on", ...env },
  });
  const all = await openLightTeams(edge.httpUrl, TEAMS);
  const [victim, sibling] = await dutiesOf(edge);
  if (victim === undefined || sibling === undefined) throw new Error("there are no two workers");
  const moved = all.teams.filter(({ sessionId }) => victim.sessionIds.includes(sessionId));
  const people = moved.flatMap(({ host, guest }) => [host, guest]);
  expect(people.length).toBeGreaterThan(0);
  await until("all have WebSockets", () =>
    people.every(({ peer }) => peer.socket.io.engine.transport.name === "websocket"),
  );
  const counts = people.map(({ peer }) => {
    let count = 0;
    peer.socket.io.on("reconnect_attempt", () => count++);
    return () => count;
  });

  process.kill(victim.pid, "SIGKILL");
  const resumed = () => countOf(edge, "worker.sessions_resumed", "exited");
  await until("its sessions are taken over", async () => (await resumed()) === moved.length);
  await until("it is up again", async () =>
    (await dutiesOf(edge)).every(({ pid }) => pid !== victim.pid),
  );
  return { edge, all, moved, people, attempts: () => counts.map((count) => count()) };
}

async function expectAllToHear({ all, moved, edge }: Killed): Promise<void> {
  for (const team of moved) {
    team.say("host");
    team.say("guest");
  }
  await until("everybody hears everybody", () => all.misheard().length === 0);
  // The restarted worker has found no session left to resume.
  expect(await countOf(edge, "worker.sessions_resumed", "exited")).toBe(moved.length);
  expect(await countOf(edge, "worker.sessions_resumed", "restarted")).toBe(0);
}

test("the sessions of a killed worker are taken over at once, and none of their people is disconnected", async () => {
  const killed = await killWorker({});
  await expectAllToHear(killed);
  expect(killed.people.flatMap(({ lostMs }) => lostMs)).toEqual([]);
  expect(killed.attempts().filter((count) => count > 0)).toEqual([]);
  expect(await countOf(killed.edge, "worker.resume.websockets", "crash")).toBe(
    killed.people.length,
  );
}, 60_000);

test("without links, the sessions of a killed worker are taken over before their people return, so no client needs a second attempt", async () => {
  const killed = await killWorker({ CT_LINK: "off" });
  const { people } = killed;
  await until("everybody is back", () =>
    people.every(({ peer, lostMs }) => lostMs.length > 0 && peer.socket.connected),
  );
  await expectAllToHear(killed);
  expect(killed.attempts()).toEqual(people.map(() => 1));
  expect(people.map(({ lostMs }) => lostMs.length)).toEqual(people.map(() => 1));
}, 60_000);
