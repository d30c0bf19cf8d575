/**
 * The people of the long haul: sessions of a host and two guests who talk all the time. Half of the sessions last for the
 * whole run; of the others one after the other is closed and a new one opened. Now and then a client loses its connection.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../../test/model/random.ts";
import { createApi } from "../../../test/support/counted/api.ts";
import { until, within } from "../../../test/support/until.ts";
import { type Counts, type Loss, NO_FAULTS, sumOf, Talker } from "./talker.ts";

interface CrowdOptions {
  /** Of the balancers; people are spread over them. */
  readonly urls: readonly string[];
  readonly sessions: number;
  /** Period in which each person sends a message. */
  readonly talkMs: number;
  /** Between two sessions that are closed, and two connections that are lost. */
  readonly closeEveryMs: number;
  readonly dropEveryMs: number;
  readonly random: Random;
}

interface TalkingSession {
  readonly id: string;
  readonly people: readonly Talker[];
}

interface Running extends TalkingSession {
  readonly isLasting: boolean;
  readonly talking: NodeJS.Timeout;
}

const PEOPLE = 3;
const AT_ONCE = 4;
const OPEN_MS = 40_000;
const RETRY_MS = 500;
/** Clients that reconnect wait for up to 5 s between two attempts. */
const SETTLE_MS = 60_000;
/** Without a message, when all are connected and none is sent. */
const QUIET_MS = 10_000;
const NO_COUNTS: Counts = { expected: 0, connected: NO_FAULTS, reconnecting: NO_FAULTS };

export class Crowd {
  opened = 0;
  /** Openings that failed and were repeated. */
  repeatedOpenings = 0;
  /** When a process was last ended or halted. */
  disturbedMs = Number.NEGATIVE_INFINITY;
  /** Of sessions that have ended: what people lost who stayed connected. */
  readonly losses: (Loss & { readonly sessionId: string })[] = [];
  readonly lostSessions: string[] = [];
  readonly #options: CrowdOptions;
  readonly #running = new Set<Running>();
  readonly #churning: NodeJS.Timeout[] = [];
  readonly #closing = new Set<Promise<void>>();
  readonly #closed: Counts[] = [];
  #closedDisconnects = 0;
  #isOver = false;

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  get sessions(): readonly TalkingSession[] {
    return [...this.#running];
  }

  get people(): readonly Talker[] {
    return [...this.#running].flatMap(({ people }) => people);
  }

  get disconnects(): number {
    return this.people.reduce((sum, one) => sum + one.disconnects, this.#closedDisconnects);
  }

  async open(): Promise<void> {
    let next = 0;
    const openNext = async (): Promise<void> => {
      while (next < this.#options.sessions) await this.#open(next++ % 2 === 0);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  }

  startChurn(): void {
    const { closeEveryMs, dropEveryMs } = this.#options;
    const track = (work: Promise<void>): void => {
      this.#closing.add(work);
      void work.finally(() => this.#closing.delete(work));
    };
    this.#churning.push(
      setInterval(() => track(this.#replaceOne()), closeEveryMs),
      setInterval(() => this.#dropOne(), dropEveryMs),
    );
  }

  /** Resolves when no session is being opened or closed any more. */
  async stopChurn(): Promise<void> {
    this.#isOver = true;
    for (const timer of this.#churning) clearInterval(timer);
    await Promise.all(this.#closing);
  }

  /**
   * Resolves when in each session everyone has got a message that was sent after `sinceMs` from each of the others. Sessions in
   * which that takes more than a minute are lost.
   */
  async recovered(sinceMs: number): Promise<void> {
    const open = [...this.#running];
    const isDeaf = (session: Running): boolean =>
      this.#running.has(session) && !session.people.every((one) => one.hasHeardSince(sinceMs));
    const areBack = (): boolean => !open.some(isDeaf);
    await until("all people hear each other", areBack, SETTLE_MS).catch(() => {
      for (const session of open.filter(isDeaf)) {
        this.lostSessions.push(session.id);
        this.#end(session);
      }
    });
  }

  /** Stops all who talk, and waits for messages in transit. */
  async settle(): Promise<void> {
    for (const { talking } of this.#running) clearInterval(talking);
    await hasArrived(this.people);
  }

  counts(): Counts {
    const all = [...this.#closed, ...this.people.map((one) => one.counts())];
    return {
      expected: all.reduce((sum, { expected }) => sum + expected, 0),
      connected: sumOf(all.map(({ connected }) => connected)),
      reconnecting: sumOf(all.map(({ reconnecting }) => reconnecting)),
    };
  }

  close(): void {
    for (const session of this.#running) this.#end(session);
  }

  async #open(isLasting: boolean): Promise<void> {
    const number = this.opened++;
    for (;;) {
      const entered: Talker[] = [];
      const opened = this.#enter(number, entered);
      try {
        const id = await within("a session is open", OPEN_MS, opened);
        this.#start(id, entered, isLasting);
        return;
      } catch (error) {
        // While the store is away, no session can be opened.
        for (const { peer } of entered) peer.close();
        if (this.#isOver) return;
        if (this.#running.size === 0) throw error;
        this.repeatedOpenings++;
        await delay(RETRY_MS);
      }
    }
  }

  async #enter(number: number, entered: Talker[]): Promise<string> {
    const { urls } = this.#options;
    const urlOf = (seat: number): string => urls[(number + seat) % urls.length] ?? "";
    const api = createApi(urlOf(0));
    await api.signIn(`Host ${number}`);
    const { roomId, roomToken } = await api.create();
    for (let seat = 0; seat < PEOPLE; seat++) {
      const token = seat === 0 ? roomToken : await api.join(roomId);
      const talker = new Talker(urlOf(seat), token, () => this.disturbedMs);
      entered.push(talker);
      await until("the person is in the session", () => talker.id !== "", OPEN_MS);
    }
    return roomId;
  }

  #start(id: string, people: readonly Talker[], isLasting: boolean): void {
    for (const one of people) one.others = people.filter((other) => other !== one);
    let turn = 0;
    const say = (): void => people[turn++ % people.length]?.say();
    const talking = setInterval(say, this.#options.talkMs / people.length);
    this.#running.add({ id, people, isLasting, talking });
  }

  async #replaceOne(): Promise<void> {
    const session = [...this.#running].find(({ isLasting }) => !isLasting);
    if (session === undefined) return;
    // The next one is another session, also while this one ends.
    this.#running.delete(session);
    clearInterval(session.talking);
    await hasArrived(session.people);
    session.people[0]?.peer.leave();
    this.#end(session);
    await this.#open(false);
  }

  #dropOne(): void {
    const connected = this.people.filter(({ isConnected }) => isConnected);
    if (connected.length > 0) this.#options.random.pick(connected).drop();
  }

  #end(session: Running): void {
    clearInterval(session.talking);
    this.#running.delete(session);
    for (const one of session.people) {
      this.#closed.push(one.counts());
      const lost = one.losses.filter(({ isReconnecting }) => !isReconnecting);
      this.losses.push(...lost.map((loss) => ({ ...loss, sessionId: session.id })));
      this.#closedDisconnects += one.disconnects;
      one.peer.close();
    }
    this.#closed.splice(0, this.#closed.length, this.#sumOfClosed());
  }

  #sumOfClosed(): Counts {
    return this.#closed.reduce(
      (sum, one) => ({
        expected: sum.expected + one.expected,
        connected: sumOf([sum.connected, one.connected]),
        reconnecting: sumOf([sum.reconnecting, one.reconnecting]),
      }),
      NO_COUNTS,
    );
  }
}

/** Messages that have not arrived by then are lost. */
async function hasArrived(people: readonly Talker[]): Promise<void> {
  const sinceMs = performance.now();
  // The last message of a person may be lost itself.
  const isQuiet = ({ isConnected, heardMs }: Talker): boolean =>
    isConnected && performance.now() - Math.max(sinceMs, heardMs) > QUIET_MS;
  const areUpToDate = (): boolean => people.every((one) => one.hasLatest || isQuiet(one));
  await until("the last messages have arrived", areUpToDate, SETTLE_MS).catch(() => {});
}
