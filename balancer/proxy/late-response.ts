/** A response of the balancer itself that is not ready at once. */
import type { Exchange } from "../downstream/exchange-contract.ts";

/** `begin` returns what stops it, which may be called after its end. The request's body is dropped. */
export function lateResponse(begin: () => () => void): Exchange {
  let stop = (): void => {};
  return {
    start() {
      stop = begin();
    },
    onBody() {},
    onDrain() {},
    measureBacklog: (done) => done(0),
    onAbort: () => stop(),
    onTimeout() {},
  };
}
