/**
 * A request beyond a limit, whose refusal waits for a second: a client that asks again at once, on the same connection, would cost as
 * much as if it were served.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { Client, Exchange } from "../downstream/exchange-contract.ts";

const DELAY_MS = 1000;

export class DelayedRefusal implements Exchange {
  readonly #client: Client;
  readonly #error: unknown;
  readonly #clock: Clock;
  #timer: Timer | undefined;

  constructor(client: Client, error: unknown, clock: Clock) {
    this.#client = client;
    this.#error = error;
    this.#clock = clock;
  }

  start(): void {
    this.#timer = this.#clock.after(DELAY_MS, () => this.#client.fail(this.#error, undefined));
  }

  /** Nobody reads it. */
  onBody(): void {}

  onDrain(): void {}

  measureBacklog(done: (bytes: number) => void): void {
    done(0);
  }

  onAbort(): void {
    this.#timer?.cancel();
  }

  onTimeout(): void {}
}
