/**
 * A simulated network of TCP: what is sent arrives in order or not at all. While a link is cut, what was sent waits in the
 * sender's system and arrives after the cut, as TCP sends again; who waits for an answer must give up by itself.
 * Links are cut in one direction at a time.
 */
import type {
  Connection,
  ConnectionHandler,
  ListenOptions,
  Piece,
  Transport,
} from "../../balancer/transport/transport.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { StoreSeen } from "../../worker/balancers/outage-reports.ts";
import type { Kernel, Process } from "./kernel.ts";
import type { Random } from "./random.ts";

/** One way between two machines takes this long, in ms; now and then something is slow. */
const LATENCY_MS = [0.2, 3] as const;
const SLOW_LATENCY_MS = [10, 60] as const;
const SLOW_ONE_IN = 50;
/** TCP sends again this long after a link is back. */
const RETRANSMIT_MS = [20, 1000] as const;

/** A process and the machine it runs on; cuts are between machines. */
export interface Place {
  readonly process: Process;
  readonly machine: string;
}

/** What arrives in the order in which it was sent. */
export interface Lane {
  lastArrivalMs: number;
}

export interface Network {
  /** Runs `arrive` in the process at `to`, later than what was sent on `lane` before; after the cut, if there is one. */
  send(from: Place, to: Place, lane: Lane, arrive: () => void): void;
  isCut(from: string, to: string): boolean;
  cut(from: string, to: string): void;
  /** What waits arrives a little later. */
  heal(from: string, to: string): void;
  /** Sockets of a process. Hosts are names of addresses, not of machines: an address can be taken by another. */
  transport(place: Place): Transport;
  /** A probe, without the bytes of one: what who listens at `address` says to it within `timeoutMs`. */
  ask(from: Place, address: string, question: Question, timeoutMs: number): Promise<ProbeAnswer>;
  /** How the process that listens at `address` answers probes. */
  answer(at: Place, address: string, judge: (question: Question) => ProbeAnswer): void;
  /** Whether somebody that has not died listens at `host:port`. */
  listensAt(address: string): boolean;
}

/**
 * What a worker is asked on its traffic port, by balancers each second (balancer/upstreams/probe.ts,
 * worker/sessions/owner-probe.ts).
 */
export interface Question {
  readonly proof: string;
  readonly asker: WorkerId;
  readonly store: StoreSeen;
}

export type ProbeAnswer =
  | "healthy"
  | "unhealthy"
  | "refused"
  | "silent"
  /** With `x-ct-incarnation`. */
  | { readonly misrouted: string };

interface Link {
  isCut: boolean;
  /** Counts cuts, so that a heal that is under way does not undo a later cut. */
  cuts: number;
  waiting: (() => void)[];
}

export function createNetwork(kernel: Kernel, random: Random): Network {
  const links = new Map<string, Link>();
  const listeners = new Map<string, { readonly place: Place; readonly options: ListenOptions }>();
  const endsByProcess = new Map<Process, Set<End>>();
  const judges = new Map<string, { readonly place: Place; judge: (q: Question) => ProbeAnswer }>();

  function linkOf(from: string, to: string): Link {
    const name = `${from}>${to}`;
    const known = links.get(name);
    if (known !== undefined) return known;
    const link = { isCut: false, cuts: 0, waiting: [] };
    links.set(name, link);
    return link;
  }

  function send(from: Place, to: Place, lane: Lane, arrive: () => void): void {
    const link = linkOf(from.machine, to.machine);
    if (link.isCut) {
      link.waiting.push(() => send(from, to, lane, arrive));
      return;
    }
    const [least, most] = random.oneIn(SLOW_ONE_IN) ? SLOW_LATENCY_MS : LATENCY_MS;
    lane.lastArrivalMs = Math.max(lane.lastArrivalMs, kernel.nowMs + random.between(least, most));
    kernel.after(lane.lastArrivalMs - kernel.nowMs, () => to.process.deliver(arrive));
  }

  function endsOf(process: Process): Set<End> {
    const known = endsByProcess.get(process);
    if (known !== undefined) return known;
    const ends = new Set<End>();
    endsByProcess.set(process, ends);
    process.onKilled(() => {
      for (const end of [...ends]) end.die(random.oneIn(2));
      endsByProcess.delete(process);
    });
    return ends;
  }

  function join(dialler: Place, listener: Place): readonly [End, End] {
    const near = new End({ kernel, send, place: dialler, ends: endsOf(dialler.process) });
    const far = new End({ kernel, send, place: listener, ends: endsOf(listener.process) });
    near.other = far;
    far.other = near;
    return [near, far];
  }

  return {
    send,
    isCut: (from, to) => linkOf(from, to).isCut,
    cut(from, to) {
      const link = linkOf(from, to);
      link.isCut = true;
      link.cuts++;
    },
    heal(from, to) {
      const link = linkOf(from, to);
      const { cuts } = link;
      kernel.after(random.between(...RETRANSMIT_MS), () => {
        if (link.cuts !== cuts) return;
        link.isCut = false;
        for (const again of link.waiting.splice(0)) again();
      });
    },
    transport: (place) => ({
      dial({ host, port }, outcome) {
        let isCancelled = false;
        const lane: Lane = { lastArrivalMs: 0 };
        const listening = listeners.get(`${host}:${port}`);
        // Nobody there: the machine that the address belongs to says so.
        const to = listening?.place ?? place;
        send(place, { machine: to.machine, process: place.process }, lane, () => {
          const found = listeners.get(`${host}:${port}`);
          if (found?.place.process !== to.process || to.process.state === "dead") {
            send({ ...place, machine: to.machine }, place, lane, () => {
              if (!isCancelled) outcome.onFail(systemError("ECONNREFUSED"));
            });
            return;
          }
          const [near, far] = join(place, found.place);
          // The system accepts, also for a process that is stopped.
          found.place.process.deliver(() => {
            if (found.options.admit()) found.options.onConnection(far);
            else far.destroy();
          });
          send(found.place, place, near.lane, () => {
            if (isCancelled) near.reset();
            else outcome.onOpen(near);
          });
        });
        return {
          cancel() {
            isCancelled = true;
          },
        };
      },
      async listen(options) {
        const address = `${options.host}:${options.port}`;
        listeners.set(address, { place, options });
        return {
          port: options.port,
          useCertificates() {},
          close: () => void listeners.delete(address),
        };
      },
    }),
    answer(place, address, judge) {
      judges.set(address, { place, judge });
    },
    ask: (from, address, question, timeoutMs) =>
      new Promise((resolve) => {
        const limit = from.process.clock.after(timeoutMs, () => resolve("silent"));
        const lane: Lane = { lastArrivalMs: 0 };
        const reply = (at: Place, answer: ProbeAnswer): void =>
          send(at, from, lane, () => {
            limit.cancel();
            resolve(answer);
          });
        const asked = judges.get(address);
        const at = { machine: asked?.place.machine ?? from.machine, process: from.process };
        send(from, at, lane, () => {
          const found = judges.get(address);
          if (found === undefined || found.place.process.state === "dead") reply(at, "refused");
          else found.place.process.deliver(() => reply(found.place, found.judge(question)));
        });
      }),
    listensAt(address) {
      const state = listeners.get(address)?.place.process.state;
      return state !== undefined && state !== "dead";
    },
  };
}

// --- one end of a connection ---

const NOBODY: ConnectionHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

interface EndNeeds {
  readonly kernel: Kernel;
  readonly send: Network["send"];
  readonly place: Place;
  /** The open ends of its process. */
  readonly ends: Set<End>;
}

class End implements Connection {
  readonly remoteAddress = "192.0.2.1";
  readonly secure = false;
  readonly pendingBytes = 0;
  setOptions(): void {}
  measureBacklog(done: (bytes: number) => void): void {
    done(0);
  }
  handler: ConnectionHandler = NOBODY;
  /** What this end receives. */
  readonly lane: Lane = { lastArrivalMs: 0 };
  other: End = this;
  readonly #needs: EndNeeds;
  #isPaused = false;
  #held: (() => void)[] = [];
  #hasEnded = false;
  #otherHasEnded = false;
  #isClosed = false;

  constructor(needs: EndNeeds) {
    this.#needs = needs;
    needs.ends.add(this);
  }

  write(pieces: readonly Piece[]): boolean {
    if (this.#isClosed || this.#hasEnded) return true;
    const bytes = Buffer.concat(
      pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece, "latin1") : piece)),
    );
    this.#tell((other) => other.handler.onData(bytes));
    return true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const held = this.#held.splice(0);
    if (held.length === 0) return;
    this.#later(() => {
      for (const event of held) this.#take(event);
    });
  }

  end(): void {
    if (this.#isClosed || this.#hasEnded) return;
    this.#hasEnded = true;
    this.#tell((other) => {
      other.#otherHasEnded = true;
      other.handler.onEnd();
      if (other.#hasEnded) other.#close(undefined);
    });
    if (this.#otherHasEnded) this.#later(() => this.#close(undefined));
  }

  destroy(): void {
    this.#leave(undefined);
  }

  reset(): void {
    this.#leave(systemError("ECONNRESET"));
  }

  /** Its process is gone; the system closes it, with RST when something was not read. */
  die(unread: boolean): void {
    this.#gone(unread ? systemError("ECONNRESET") : undefined);
  }

  #leave(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#gone(error);
    this.#later(() => this.handler.onClose(undefined));
  }

  #gone(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#needs.ends.delete(this);
    this.#tell((other) => {
      if (error === undefined && !other.#otherHasEnded) {
        other.#otherHasEnded = true;
        other.handler.onEnd();
      }
      other.#close(error);
    });
  }

  #close(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#needs.ends.delete(this);
    this.handler.onClose(error);
  }

  #tell(event: (other: End) => void): void {
    const { other } = this;
    this.#needs.send(this.#needs.place, other.#needs.place, other.lane, () =>
      other.#take(() => {
        if (!other.#isClosed) event(other);
      }),
    );
  }

  /** An event of this end, in order; it waits while reading is paused. */
  #take(event: () => void): void {
    if (this.#isPaused) this.#held.push(event);
    else event();
  }

  #later(action: () => void): void {
    const { kernel, place } = this.#needs;
    kernel.after(0, () => place.process.deliver(action));
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
