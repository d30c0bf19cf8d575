/**
 * Teams of unmodified clients that type and talk while processes of the edge fail, and the effects on each client: when it was
 * connected again, what it received, what it received twice, and whether the documents are equal. For tests and benchmarks.
 */

import { closeAtEnd } from "./at-end.ts";
import { Client } from "./clients.ts";
import { until } from "./until.ts";

export interface Team {
  readonly sessionId: string;
  readonly host: Client;
  readonly everybody: readonly Client[];
}

export interface Teams {
  readonly teams: readonly Team[];
  readonly clients: readonly Client[];
  /** Each client writes a line and sends a message once in `periodMs`, one after the other. */
  startTyping(periodMs: number): void;
  /** Stops typing; resolves when pending messages are sent. */
  stopTyping(): Promise<void>;
  close(): Promise<void>;
}

/** Concurrently opened teams; each needs some signatures and round trips. */
const AT_ONCE = 4;

export async function openTeams(options: {
  readonly count: number;
  readonly guests: number;
  readonly url: (team: number) => string;
}): Promise<Teams> {
  const teams: Team[] = [];
  const numbers = Array.from({ length: options.count }, (_, index) => index).reverse();
  async function openNext(): Promise<void> {
    for (let number = numbers.pop(); number !== undefined; number = numbers.pop()) {
      teams.push(await openTeam(options.url(number), number, options.guests));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  const clients = teams.flatMap((team) => team.everybody);
  await until("all are on WebSockets", () => clients.every(({ isOnWebSocket }) => isOnWebSocket));
  let typing: { readonly timer: NodeJS.Timeout; sending: Promise<unknown> } | undefined;
  let turn = 0;

  return closeAtEnd({
    teams,
    clients,
    startTyping(periodMs) {
      const timer = setInterval(() => {
        const client = clients[turn % clients.length];
        const text = `${client?.name} #${turn}`;
        turn++;
        if (client === undefined || typing === undefined) return;
        client.write(text);
        // While a client is disconnected the package queues the message. Tests notice one that failed because a peer had left.
        typing.sending = Promise.all([typing.sending, client.say(text).catch(() => {})]);
      }, periodMs / clients.length);
      typing = { timer, sending: Promise.resolve() };
    },
    async stopTyping() {
      clearInterval(typing?.timer);
      await typing?.sending;
      typing = undefined;
    },
    async close() {
      clearInterval(typing?.timer);
      await Promise.all(clients.map((client) => client.close()));
    },
  });
}

async function openTeam(baseUrl: string, number: number, guestCount: number): Promise<Team> {
  const host = new Client({ baseUrl, name: `Host ${number}` });
  const guests = Array.from(
    { length: guestCount },
    (_, index) => new Client({ baseUrl, name: `Guest ${number}.${index + 1}` }),
  );
  const sessionId = await host.host();
  for (const guest of guests) await guest.join(sessionId);
  await until("the first guest knows the last", () => {
    const [first] = guests;
    return first === undefined || first.joined.length === guestCount - 1;
  });
  return { sessionId, host, everybody: [host, ...guests] };
}

// --- results ---

/**
 * For each client, the time from `sinceMs` (`performance.now()`) until it was in its session again; 0 for one that was connected
 * all the time. Call it when their sessions have new owners.
 */
export async function pauses(
  clients: readonly Client[],
  sinceMs: number,
  timeoutMs: number,
): Promise<number[]> {
  await until(
    "all clients are in their sessions",
    () => clients.every((client) => client.isServed),
    timeoutMs,
  );
  return clients.map(({ lostMs, servedMs }) =>
    lostMs.some((lost) => lost >= sinceMs) ? (servedMs.at(-1) ?? 0) - sinceMs : 0,
  );
}

/** For each client, the time from `sinceMs` (`performance.now()`) until it was in its session again; all lose theirs. */
export async function backTimes(
  clients: readonly Client[],
  sinceMs: number,
  timeoutMs: number,
): Promise<number[]> {
  return until(
    "all clients are in their sessions again",
    () => {
      const times = clients.map((client) => (client.servedMs.at(-1) ?? 0) - sinceMs);
      return clients.every((client) => client.isServed) && times.every((ms) => ms > 0) && times;
    },
    timeoutMs,
  );
}

/** Resolves when all documents of each team are equal, with the time since `sinceMs`. */
export async function equalAfter(
  teams: readonly Team[],
  sinceMs: number,
  timeoutMs: number,
): Promise<number> {
  await until(
    "all documents of each team are equal",
    () =>
      teams.every(({ everybody }) => new Set(everybody.map((client) => client.text)).size === 1),
    timeoutMs,
  );
  return performance.now() - sinceMs;
}

/** State that no fault may change: identities, members of the session, join requests. */
export function whatTheyKnow(clients: readonly Client[]): unknown {
  return clients.map((client) => ({
    name: client.name,
    infos: client.infos.map(({ id, host, name }) => ({ id, host, name })),
    initializedTimes: client.inits.length,
    joinRequests: client.joinRequests.map((user) => user.name),
    joined: client.joined.map((peer) => peer.id),
    left: client.left.map((peer) => peer.id),
    closedCount: client.closedCount,
    disconnected: client.disconnected,
  }));
}

export function heardTwice(clients: readonly Client[]): string[] {
  return clients.flatMap((client) => {
    const texts = client.said.map((said) => said.text);
    return [...new Set(texts.filter((text, at) => texts.indexOf(text) !== at))].map(
      (text) => `${client.name} received "${text}" again`,
    );
  });
}

/**
 * Messages that a client of the same team has not received. Their order is not compared, because the package decrypts
 * concurrently. `killedMs`: when a process died at once. What was on its way over its connections then is in no memory but the
 * dead process's, and nobody sends it again: such messages may be missing.
 */
export function missing(
  teams: readonly Team[],
  { killedMs }: { readonly killedMs?: number } = {},
): string[] {
  return teams.flatMap(({ everybody }) =>
    everybody.flatMap((hearer) =>
      everybody
        .filter((speaker) => speaker !== hearer)
        .filter((speaker) => {
          const heard = new Set(hearer.said.filter(isFrom(speaker)).map(({ text }) => text));
          const isExcused = (atMs: number): boolean =>
            killedMs !== undefined &&
            [speaker, hearer].some((one) => isOnItsWay(atMs, one, killedMs));
          return speaker.spoken.some(
            (text, index) => !heard.has(text) && !isExcused(speaker.spokenMs[index] ?? 0),
          );
        })
        .map((speaker) => `${hearer.name} did not receive all messages of ${speaker.name}`),
    ),
  );
}

const isFrom =
  (speaker: Client) =>
  ({ from }: { readonly from: string }): boolean =>
    from === speaker.id;

/** How long a message takes, at most, from the call to the other client. */
const ON_ITS_WAY_MS = 500;

/** Whether what was said at `atMs` may have been lost on the connection of `client`, which was to a process that was killed. */
function isOnItsWay(atMs: number, { lostMs }: Client, killedMs: number): boolean {
  const noticedMs = lostMs.find((lost) => lost >= killedMs);
  return noticedMs !== undefined && atMs >= killedMs - ON_ITS_WAY_MS && atMs <= noticedMs;
}
