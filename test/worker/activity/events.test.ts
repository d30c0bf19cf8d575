/** What is recorded of people who host, ask, come and go, with unmodified clients. */
import { expect, test } from "vitest";
import { eventSchema } from "../../../shared/activity/event.ts";
import { createDecider } from "../../../shared/policy/decide.ts";
import { parsePolicy } from "../../../shared/policy/parse-policy.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { recordedActivity } from "../../support/activity.ts";
import { openSession, person } from "../../support/people.ts";
import { until } from "../../support/until.ts";
import { startWorker } from "../api/fixture.ts";

const OPERATOR = { name: "Olga", way: "password", address: "192.0.2.7" };

async function start(policy?: string) {
  const recorded = recordedActivity();
  const worker = await startWorker({
    activity: recorded.activity,
    ...(policy !== undefined && { policy: { current: policyOf(policy) } }),
  });
  return { worker, recorded };
}

function policyOf(text: string) {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  const { policy, prefixes } = parsed;
  return { policy, decider: createDecider(policy, prefixes), digest: "", text };
}

test("a session is recorded from its sign-ins to its end, with who did what", async () => {
  const { worker, recorded } = await start();
  const { sessionId, host, guests } = await openSession({ baseUrl: worker.url, guestCount: 1 });
  host.decide = () => "reject";
  const refused = person({ baseUrl: worker.url, name: "Mallory" });
  await expect(refused.join(sessionId)).rejects.toThrow();
  await guests[0]?.leave();
  await until("the guest has left", () =>
    recorded.lines().some((line) => /^peer\.left/.test(line)),
  );
  await host.leave();
  await until("it has ended", () => recorded.lines().some((line) => /^session\.closed/.test(line)));
  const [hostName, guestName] = [host.name, guests[0]?.name];
  expect(recorded.lines()).toEqual([
    `sign-in, user ${hostName}`,
    `session.created, user ${hostName}`,
    `peer.joined, user ${hostName}, host`,
    `sign-in, user ${guestName}`,
    `join.asked, user ${guestName}`,
    `join.approved, user ${hostName}, user ${guestName}`,
    `peer.joined, user ${guestName}, guest`,
    "sign-in, user Mallory",
    "join.asked, user Mallory",
    `join.refused, user ${hostName}, user Mallory, rejected`,
    `peer.left, user ${guestName}, left`,
    `peer.left, user ${hostName}, session closed`,
    "session.closed, edge, host left",
  ]);
  const text = JSON.stringify(recorded.events);
  // Who reads it must not be able to ask to join.
  expect(text).not.toContain(sessionId);
  for (const event of recorded.events) expect(eventSchema.parse(event)).toEqual(event);
  expect(new Set(recorded.events.map(({ id }) => id)).size).toBe(recorded.events.length);
});

test("operators who lock a session, remove a guest and end it are named", async () => {
  const { worker, recorded } = await start();
  const { sessionId, guests } = await openSession({ baseUrl: worker.url, guestCount: 1 });
  const session = [...worker.registry.sessions()].find(({ id }) => id === sessionId);
  const guest = [...(session?.peers ?? [])].find(({ record }) => !record.host);
  session?.lock(true, OPERATOR);
  const late = person({ baseUrl: worker.url, name: "Late" });
  await expect(late.join(sessionId)).rejects.toThrow();
  session?.lock(false, OPERATOR);
  session?.removePeer(guest?.id ?? ("" as never), OPERATOR);
  session?.end("ended by the operator", OPERATOR);
  expect(recorded.lines().slice(7)).toEqual([
    "session.locked, operator Olga",
    "sign-in, user Late",
    "join.refused, edge, user Late, locked",
    "session.unlocked, operator Olga",
    `peer.removed, operator Olga, user ${guests[0]?.name}, removed`,
    "peer.left, user Host, session closed",
    "session.closed, operator Olga, ended by the operator",
  ]);
  expect(recorded.events.at(-1)?.actor).toEqual({ type: "operator", ...OPERATOR });
});

test("guests who wait when an operator locks the session are refused by the operator", async () => {
  const { worker, recorded } = await start();
  const { sessionId, host } = await openSession({ baseUrl: worker.url, guestCount: 0 });
  host.decide = () => "never answer";
  const waiting = person({ baseUrl: worker.url, name: "Waiting" });
  const refused = expect(waiting.join(sessionId)).rejects.toThrow();
  await until("the host is asked", () => host.joinRequests.length === 1);
  const session = [...worker.registry.sessions()].find(({ id }) => id === sessionId);
  session?.lock(true, OPERATOR);
  await refused;
  expect(recorded.lines()).toContain("join.refused, operator Olga, user Waiting, locked");
});

test("guests who wait when a session ends are refused before it is closed", async () => {
  const { worker, recorded } = await start();
  const { sessionId, host } = await openSession({ baseUrl: worker.url, guestCount: 0 });
  host.decide = () => "never answer";
  const waiting = person({ baseUrl: worker.url, name: "Waiting" });
  const refused = expect(waiting.join(sessionId)).rejects.toThrow();
  await until("the host is asked", () => host.joinRequests.length === 1);
  const session = [...worker.registry.sessions()].find(({ id }) => id === sessionId);
  session?.end("ended by the operator", OPERATOR);
  await refused;
  expect(recorded.lines().slice(-3)).toEqual([
    "join.refused, edge, user Waiting, closed",
    "peer.left, user Host, session closed",
    "session.closed, operator Olga, ended by the operator",
  ]);
});

test("refusals of the policy name the rule", async () => {
  const { worker, recorded } = await start(`
version: 1
otherwise: { host: allow, join: allow }
rules:
  - { name: no names, who: { networks: [127.0.0.0/8] }, host: deny }
`);
  await expect(person({ baseUrl: worker.url, name: "Ada" }).host()).rejects.toThrow();
  expect(recorded.lines()).toEqual([
    "sign-in, user Ada",
    "session.refused, rule no names, user Ada, policy",
  ]);
});

test("no session begins while nothing can be recorded, if that is wanted", async () => {
  const { worker, recorded } = await start();
  recorded.refusal = "This server cannot record what happens now. Try again later.";
  const ada = person({ baseUrl: worker.url, name: "Ada" });
  await expect(ada.host()).rejects.toThrow(recorded.refusal);
  recorded.refusal = undefined;
  await ada.host();
});

test("a session goes on while webhooks cannot be told, and its changes are stored once they can", async () => {
  let isAway = false;
  const recorded = recordedActivity(async () => {
    if (isAway) throw new StoreAwayError("appendToStream");
  });
  const worker = await startWorker({ activity: recorded.activity });
  const { sessionId, guests } = await openSession({ baseUrl: worker.url, guestCount: 1 });
  isAway = true;
  await guests[0]?.leave();
  await until("the guest has left", () =>
    recorded.lines().some((line) => /^peer\.left/.test(line)),
  );
  const peers = async () => (await worker.store.findSession(sessionId as never))?.peers.length;
  expect(await peers()).toBe(2);
  isAway = false;
  await until("it is stored", async () => (await peers()) === 1);
});
