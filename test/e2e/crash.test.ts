/**
 * A worker of one machine is killed while it hosts many people. At full size, with figures: bench/crash.ts.
 */
import { expect, onTestFinished, test } from "vitest";
import { startEdge } from "../support/edge-process.ts";
import { openLightTeams } from "../support/light-teams.ts";
import { countOf, dutiesOf } from "../support/status.ts";
import { until } from "../support/until.ts";

const TEAMS = 60;

test("the sessions of a killed worker are taken over before their people return, so no client needs a second attempt", async () => {
  const edge = await startEdge({
    env: { CT_WORKER_COUNT: "2", CT_MAX_SESSIONS_PER_USER: "1000", CT_LOGIN_SIMPLE: "on" },
  });
  onTestFinished(() => edge.dispose());
  const all = await openLightTeams(edge.httpUrl, TEAMS);
  onTestFinished(() => all.close());
  const [victim, sibling] = await dutiesOf(edge);
  if (victim === undefined || sibling === undefined) throw new Error("there are no two workers");
  const moved = all.teams.filter(({ sessionId }) => victim.sessionIds.includes(sessionId));
  const people = moved.flatMap(({ host, guest }) => [host, guest]);
  expect(people.length).toBeGreaterThan(0);
  const attempts = people.map(({ peer }) => {
    let count = 0;
    peer.socket.io.on("reconnect_attempt", () => count++);
    return () => count;
  });

  process.kill(victim.pid, "SIGKILL");
  await until("everybody is back", () =>
    people.every(({ peer, lostMs }) => lostMs.length > 0 && peer.socket.connected),
  );

  // The restarted worker finds no session left to resume.
  await until("it is up again", async () =>
    (await dutiesOf(edge)).every(({ pid }) => pid !== victim.pid),
  );
  expect(await countOf(edge, "worker.sessions_resumed", "exited")).toBe(moved.length);
  expect(await countOf(edge, "worker.sessions_resumed")).toBe(moved.length);
  expect(attempts.map((count) => count())).toEqual(people.map(() => 1));
  expect(people.map(({ lostMs }) => lostMs.length)).toEqual(people.map(() => 1));
  for (const team of moved) {
    team.say("host");
    team.say("guest");
  }
  await until("everybody hears everybody", () => all.misheard().length === 0);
}, 60_000);
