/**
 * Requests beyond a limit. Their refusal waits for a second: a client that asks again at once, on the same connection, would cost as much
 * as if it were served.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { lateResponse } from "./late-response.ts";

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
  const { clock, trusted } = deps;
  let waiting = 0;

  function refuseLater(client: Client, error: unknown): Exchange {
    return lateResponse(() => {
      waiting++;
      let isWaiting = true;
      const stop = (): void => {
        if (isWaiting) waiting--;
        isWaiting = false;
        timer.cancel();
      };
      const timer = clock.after(DELAY_MS, () => {
        stop();
        client.fail(error, undefined);
      });
      return stop;
    });
  }

  return {
    get waiting() {
      return waiting;
    },
    refuse(client, error) {
      // A proxy's connection carries the requests of many: the next one may be of somebody else.
      if (waiting < MAX_WAITING && !trusted.has(client.peerAddress)) {
        return refuseLater(client, error);
      }
      client.fail(error, undefined);
      return undefined;
    },
  };
}
