/**
 * Requests beyond a limit. Their refusal waits for a second: a client that asks again at once, on the same connection, would cost as much
 * as if it were served.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";

const DELAY_MS = 1000;
/** Each holds its request. Beyond that many they are not delayed. */
const MAX_WAITING = 1000;

export interface Refusals {
  readonly waiting: number;
  /** Undefined: it has been sent. */
  refuse(client: Client, error: unknown): Exchange | undefined;
}

export function createRefusals(deps: {
  readonly clock: Clock;
  readonly trusted: TrustedProxies;
}): Refusals {
  let waiting = 0;
  const onChange = (change: 1 | -1): void => {
    waiting += change;
  };
  return {
    get waiting() {
      return waiting;
    },
    refuse(client, error) {
      // A proxy's connection carries the requests of many: the next one may be of somebody else.
      if (waiting < MAX_WAITING && !deps.trusted.has(client.peerAddress)) {
        return new DelayedRefusal(client, error, deps.clock, onChange);
      }
      client.fail(error, undefined);
      return undefined;
    },
  };
}

class DelayedRefusal implements Exchange {
  readonly #client: Client;
  readonly #error: unknown;
  readonly #clock: Clock;
  readonly #onChange: (change: 1 | -1) => void;
  /** Undefined while it does not wait. */
  #timer: Timer | undefined;

  constructor(client: Client, error: unknown, clock: Clock, onChange: (change: 1 | -1) => void) {
    this.#client = client;
    this.#error = error;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  start(): void {
    this.#onChange(1);
    this.#timer = this.#clock.after(DELAY_MS, () => {
      this.#stop();
      this.#client.fail(this.#error, undefined);
    });
  }

  #stop(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#onChange(-1);
  }

  /** It is dropped. */
  onBody(): void {}

  onDrain(): void {}

  measureBacklog(done: (bytes: number) => void): void {
    done(0);
  }

  onAbort(): void {
    this.#stop();
  }

  onTimeout(): void {}
}
