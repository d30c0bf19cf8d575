/**
 * The main job of the product, played by unmodified clients: sign in, create a session, approve, join, exchange encrypted
 * requests, notifications and broadcasts, edit a document together, leave, close. The result is plain values, so that a test
 * can compare them even if the clients ran in another process.
 */
import { Client, type ClientOptions } from "./clients.ts";
import { until } from "./until.ts";

export interface MainJob {
  readonly host: Omit<ClientOptions, "name">;
  readonly guests: Omit<ClientOptions, "name">;
  /** If there are several guests, the first one leaves before the host closes the session. */
  readonly guestCount: number;
}

/** What each client saw, by name (`Host`, `Guest 1`, …). Lists are sorted, because the package guarantees no order. */
export interface MainJobReport {
  readonly sessionId: string;
  readonly joinRequests: readonly string[];
  /** Names of the peers in `peer/init`, by guest. */
  readonly initialized: Readonly<Record<string, readonly string[]>>;
  /** Responses to requests: guests ask the host, the host asks the first guest. */
  readonly answers: Readonly<Record<string, string>>;
  /** Direct messages, as `name: text`: from guests to the host, from the host to each guest. */
  readonly told: Readonly<Record<string, readonly string[]>>;
  /** Broadcasts, as `name: text`: one from each client. */
  readonly heard: Readonly<Record<string, readonly string[]>>;
  /** The document at the end, by reader; its lines sorted. */
  readonly documents: Readonly<Record<string, readonly string[]>>;
  readonly documentsEqual: boolean;
  /** Names of the clients that left before the session was closed, as seen by the others. */
  readonly sawLeave: Readonly<Record<string, readonly string[]>>;
  readonly sawClose: readonly string[];
}

/** Plays the job. Rejects if a step does not happen; wrong results are for the test to find in the report. */
export async function playMainJob(job: MainJob): Promise<MainJobReport> {
  const host = new Client({ ...job.host, name: "Host" });
  const guests = Array.from(
    { length: job.guestCount },
    (_, index) => new Client({ ...job.guests, name: `Guest ${index + 1}` }),
  );
  try {
    return await play(host, guests);
  } finally {
    await Promise.all([host, ...guests].map((client) => client.close()));
  }
}

async function play(host: Client, guests: readonly Client[]): Promise<MainJobReport> {
  const sessionId = await host.host();
  await Promise.all(guests.map((guest) => guest.login()));
  // In sequence, so that each guest is initialized with all earlier ones.
  for (const guest of guests) await guest.join(sessionId);
  const clients = [host, ...guests];
  await until("all clients know each other", () =>
    clients.every((client) => knownTo(client).size === clients.length),
  );
  const names = new Map(clients.map((client) => [client.id, client.name]));

  const answers = await askAround(host, guests);
  await talk(host, guests);
  await editTogether(clients);
  const documents = byName(clients, (client) => client.text.trimEnd().split("\n").sort());
  const documentsEqual = clients.every((client) => client.text === host.text);
  const { sawLeave, sawClose } = await leaveAndClose(host, guests);

  return {
    sessionId,
    joinRequests: host.joinRequests.map((user) => user.name),
    initialized: byName(guests, initializedWith),
    answers,
    told: byName(clients, (client) => saidTo(client, names, true)),
    heard: byName(clients, (client) => saidTo(client, names, false)),
    documents,
    documentsEqual,
    sawLeave,
    sawClose,
  };
}

// --- the acts ---

async function askAround(
  host: Client,
  guests: readonly Client[],
): Promise<MainJobReport["answers"]> {
  const [first] = guests;
  const asked: [Client, string][] = guests.map((guest) => [guest, host.id]);
  if (first !== undefined) asked.push([host, first.id]);
  const answers = await Promise.all(
    asked.map(async ([client, target]) => [client.name, await client.read(target, "src/main.ts")]),
  );
  return Object.fromEntries(answers) as Record<string, string>;
}

async function talk(host: Client, guests: readonly Client[]): Promise<void> {
  const clients = [host, ...guests];
  await Promise.all([
    ...guests.map((guest) => guest.tell(host.id, "for the host only")),
    ...guests.map((guest) => host.tell(guest.id, "for one guest only")),
    ...clients.map((client) => client.say("for everybody")),
  ]);
  await until("all messages have arrived", () =>
    clients.every((client) => {
      const direct = client.said.filter((said) => said.direct).length;
      const broadcast = client.said.length - direct;
      return direct === (client === host ? guests.length : 1) && broadcast === guests.length;
    }),
  );
}

async function editTogether(clients: readonly Client[]): Promise<void> {
  for (const line of [1, 2, 3]) {
    for (const client of clients) client.write(`${client.name}, line ${line}`);
  }
  await until("all documents are complete and equal", () => {
    const [first, ...others] = clients.map((client) => client.text);
    const lines = first?.split("\n").length ?? 0;
    return lines > clients.length * 3 && others.every((text) => text === first);
  });
}

async function leaveAndClose(
  host: Client,
  guests: readonly Client[],
): Promise<Pick<MainJobReport, "sawLeave" | "sawClose">> {
  const staying = guests.length > 1 ? guests.slice(1) : guests;
  const leaving = guests.filter((guest) => !staying.includes(guest));
  await Promise.all(leaving.map((guest) => guest.leave()));
  await until("the other clients see the guest leave", () =>
    [host, ...staying].every((client) => client.left.length >= leaving.length),
  );
  const sawLeave = byName([host, ...staying], (client) => client.left.map((peer) => peer.name));
  await host.leave();
  await until("the guests see the session end", () =>
    staying.every((client) => client.closedCount > 0),
  );
  const sawClose = staying.filter((client) => client.closedCount === 1).map(({ name }) => name);
  return { sawLeave, sawClose };
}

// --- what people saw ---

function knownTo(client: Client): Set<string> {
  const initialPeers = client.inits.flatMap((init) => [init.host, ...init.guests]);
  return new Set([
    client.id,
    ...initialPeers.map(({ id }) => id),
    ...client.joined.map(({ id }) => id),
  ]);
}

function initializedWith(guest: Client): string[] {
  return guest.inits.flatMap((init) => [init.host, ...init.guests].map((peer) => peer.name)).sort();
}

function saidTo(client: Client, names: ReadonlyMap<string, string>, direct: boolean): string[] {
  return client.said
    .filter((said) => said.direct === direct)
    .map((said) => `${names.get(said.from) ?? "a stranger"}: ${said.text}`)
    .sort();
}

function byName<T>(clients: readonly Client[], value: (client: Client) => T): Record<string, T> {
  return Object.fromEntries(clients.map((client) => [client.name, value(client)]));
}
