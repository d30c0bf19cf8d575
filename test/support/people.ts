/**
 * Clients for one test, which are closed at its end.
 */
import { expect } from "vitest";
import { atEnd } from "./at-end.ts";
import { Client, type ClientOptions } from "./clients.ts";
import { playMainJob } from "./main-job.ts";
import { until } from "./until.ts";

export interface OpenSession {
  readonly sessionId: string;
  readonly host: Client;
  readonly guests: readonly Client[];
  readonly everybody: readonly Client[];
}

/** A client that is closed when the running test ends. */
export function person(options: ClientOptions): Client {
  const client = new Client(options);
  atEnd(() => client.close());
  return client;
}

/** A session with a host and guests who have all joined. */
export async function openSession(options: {
  readonly baseUrl: string;
  readonly guestCount: number;
  readonly headers?: Readonly<Record<string, string>>;
}): Promise<OpenSession> {
  const { guestCount, ...client } = options;
  const host = person({ ...client, name: "Host" });
  const guests = Array.from({ length: guestCount }, (_, index) =>
    person({ ...client, name: `Guest ${index + 1}` }),
  );
  const sessionId = await host.host();
  for (const guest of guests) await guest.join(sessionId);
  await until("the first guest knows the last", () => {
    const [first] = guests;
    return first === undefined || first.joined.length === guestCount - 1;
  });
  return { sessionId, host, guests, everybody: [host, ...guests] };
}

/** Resolves when all have changed from polling to WebSockets. */
export async function allOnWebSockets(clients: readonly Client[]): Promise<void> {
  await until("all are on WebSockets", () => clients.every(({ isOnWebSocket }) => isOnWebSocket));
}

/** Resolves when all documents are equal and contain `lines`. */
export async function documentsEqual(
  clients: readonly Client[],
  lines: readonly string[],
  timeoutMs?: number,
): Promise<void> {
  await until(
    `documents are equal and contain ${lines.join(", ")}`,
    () => {
      const texts = new Set(clients.map((client) => client.text));
      const [text = ""] = texts;
      return texts.size === 1 && lines.every((line) => text.includes(`${line}\n`));
    },
    timeoutMs,
  );
}

/** Sends a message from `speaker` to all, and resolves when the others have received it with the right peer id. */
export async function everybodyHears(
  speaker: Client,
  others: readonly Client[],
  text: string,
): Promise<void> {
  await speaker.say(text);
  await until(`all receive "${text}"`, () =>
    others.every((client) =>
      client.said.some((said) => said.text === text && said.from === speaker.id),
    ),
  );
}

/** People do the whole main job at this URL, and it succeeds. */
export async function expectMainJob(baseUrl: string, guestCount: number): Promise<void> {
  const report = await playMainJob({ host: { baseUrl }, guests: { baseUrl }, guestCount });
  expect(report).toMatchObject({ documentsEqual: true, sawClose: [`Guest ${guestCount}`] });
}
