/** Sessions that are opened to be looked at: two people who talk, and what became of it. */
import { describeError } from "../../../shared/base/errors.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { HttpProbe } from "../probes/http.ts";
import { createPerson, type Person, type Step, StepError } from "./person.ts";
import type { TransportNames } from "./protocol.ts";

export type OpenSession = Awaited<ReturnType<typeof openSession>>;

/** Of a session that was tried. */
export type Played =
  | {
      readonly outcome: "done";
      readonly tag: WorkerTag | undefined;
      readonly transport: string;
      readonly tookMs: number;
    }
  | { readonly outcome: "failed"; readonly step: Step; readonly detail: string };

/** Adds what must be undone. */
type OnCleanup = (undo: () => Promise<void>) => void;

export interface SessionDeps {
  readonly http: HttpProbe;
  readonly userToken: string;
  readonly signal: AbortSignal;
  readonly patience: AbortSignal;
  readonly onCleanup: OnCleanup;
  /** Whether WebSockets pass: only then is it worth waiting for them. */
  readonly upgrades: boolean;
}

const DEFAULT_TRANSPORTS: TransportNames = ["polling", "websocket"];
const HEARD_TIMEOUT_MS = 8000;
const FAILURE_POLL_MS = 50;
/** Above what nginx accepts by default, 1 MiB. */
const FILE_BYTES = 2 * 1024 * 1024;

/** Rejects with `StepError`; what it had opened is closed then. */
export async function openSession(
  baseUrl: string,
  deps: SessionDeps,
  guestTransports: TransportNames = DEFAULT_TRANSPORTS,
) {
  const personWith = (transports: TransportNames): Person =>
    createPerson({ ...deps, baseUrl, transports });
  const host = personWith(DEFAULT_TRANSPORTS);
  const guest = personWith(guestTransports);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    // The host ends the session.
    closing ??= Promise.all([guest.leave(), host.leave()]).then(() => {});
    return closing;
  };
  deps.onCleanup(close);
  try {
    const sessionId = await host.host();
    await guest.join(sessionId);
    return { sessionId, host, guest, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens a session, exchanges messages and a file, and closes it. Never rejects. */
export function playSession(baseUrl: string, deps: SessionDeps): Promise<Played> {
  return play(openSession(baseUrl, deps), async ({ host, guest }) => {
    const { tag } = host;
    if (deps.upgrades) await Promise.all([host.upgraded(), guest.upgraded()]);
    await exchange(host, guest);
    await sendFile(host, guest);
    return { tag, transport: transportOf(host, guest) };
  });
}

/** A guest that polls only sends the host a file, which then goes in the body of one request. Never rejects. */
export function playLargeBody(baseUrl: string, deps: SessionDeps): Promise<Played> {
  return play(openSession(baseUrl, deps, ["polling"]), async ({ host, guest }) => {
    const { tag, transport } = guest;
    await sendFile(host, guest);
    return { tag, transport };
  });
}

async function play(
  opening: Promise<OpenSession>,
  use: (session: OpenSession) => Promise<Pick<Person, "tag" | "transport">>,
): Promise<Played> {
  const startMs = performance.now();
  try {
    const session = await opening;
    // The time includes the end of the session.
    let seen: Awaited<ReturnType<typeof use>>;
    try {
      seen = await use(session);
    } finally {
      await session.close();
    }
    return { outcome: "done", ...seen, tookMs: performance.now() - startMs };
  } catch (error) {
    if (error instanceof StepError) {
      return { outcome: "failed", step: error.step, detail: error.message };
    }
    return { outcome: "failed", step: "create the session", detail: describeError(error) };
  }
}

function transportOf(...people: readonly Person[]): string {
  return people.every(({ transport }) => transport === "websocket") ? "websocket" : "polling";
}

async function exchange(host: Person, guest: Person): Promise<void> {
  try {
    await Promise.all([speak(host, guest, "from the host"), speak(guest, host, "from the guest")]);
  } catch (error) {
    throw new StepError("exchange messages", error);
  }
}

/** The sender is the reader's peer: its transport fails when the body is too large, and tries repeatedly. */
async function sendFile(reader: Person, sender: Person): Promise<void> {
  const before = sender.failures.length;
  let watch: NodeJS.Timeout | undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    watch = setInterval(() => {
      const failure = sender.failures[before];
      if (failure !== undefined) reject(new Error(failure));
    }, FAILURE_POLL_MS);
  });
  try {
    const isWhole = await Promise.race([reader.readFile(sender.peerId, FILE_BYTES), failed]);
    if (!isWhole) throw new Error("it was cut");
  } catch (error) {
    throw new StepError("send a file", error);
  } finally {
    clearInterval(watch);
  }
}

function speak(speaker: Person, listener: Person, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(speaker.failures.at(-1) ?? "a message did not arrive"));
    }, HEARD_TIMEOUT_MS);
    listener.onHeard((heard) => {
      if (heard !== text) return;
      clearTimeout(late);
      resolve();
    });
    speaker.say(text).catch(reject);
  });
}
