/**
 * Whether this worker may act for its sessions now (shared/membership/fence-rule.ts), checked before each batch of input and
 * output. Once shut, the fence stays shut until the next heartbeat: other workers may have taken sessions over in between,
 * so each must be confirmed.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { atTurnEnd } from "../../shared/base/turn.ts";
import { mayRelay } from "../../shared/membership/fence-rule.ts";
import { REFUSED_HEARTBEAT_AGE_MS } from "../../shared/store/ownership.ts";
import { MEMBER_LEASE_MS } from "../../shared/store/store.ts";

/**
 * `open`: relay. `undecided`: relay nothing yet, because balancers may be about to report that the store is away for all;
 * until then no other worker can take over. `shut`: relay nothing, and close all connections.
 */
export type FenceState = "open" | "undecided" | "shut";

export type Fence = ReturnType<typeof createFence>;

export interface HeldWork {
  readonly run: () => void;
  readonly refuse: () => void;
}

/** Latest end of `undecided`: balancers notice a hung store some time after the last successful heartbeat. */
const DECIDED_AFTER_MS = MEMBER_LEASE_MS - 250;
/** How often the fence checks itself without input: when it shuts, clients must reconnect to their session's owner. */
const PERIOD_MS = 250;
/**
 * A gap between two heartbeats in which another worker may have found our port closed and taken over. A second less than
 * that takes, because the previous heartbeat may have arrived long after it was sent.
 */
const SUSPICIOUS_GAP_MS = REFUSED_HEARTBEAT_AGE_MS - 1000;

/**
 * When the store is back after it was away for all, balancers may report that before this worker's next heartbeat succeeds.
 * A store that no worker reached for a lease considers none gone for longer than this.
 */
const RETURN_GRACE_MS = 3000;

export function createFence(deps: {
  readonly clock: Clock;
  readonly isStoreAwayForAll: () => boolean;
  /** Called each time the fence shuts. */
  readonly onShut: () => void;
}) {
  const { clock } = deps;
  let lastRenewalSentMs: number | undefined;
  let isShut = false;
  let awayForAllMs = Number.NEGATIVE_INFINITY;
  let held: HeldWork[] = [];

  /** The state now. When the fence has to shut, `onShut` is called before this returns. */
  function look(): FenceState {
    if (isShut) return "shut";
    // Without a lease there is nothing that other workers could take over.
    if (lastRenewalSentMs === undefined) return "open";
    const nowMs = clock.nowMs();
    // Store-outage reports are read only when they matter: this runs for each message.
    if (mayRelay({ nowMs, lastRenewalSentMs, isStoreAwayForAll: false })) return release();
    if (deps.isStoreAwayForAll()) awayForAllMs = nowMs;
    const isStoreAwayForAll = nowMs - awayForAllMs < RETURN_GRACE_MS;
    if (mayRelay({ nowMs, lastRenewalSentMs, isStoreAwayForAll })) return release();
    if (nowMs - lastRenewalSentMs < DECIDED_AFTER_MS) return "undecided";
    isShut = true;
    for (const { refuse } of takeHeld()) refuse();
    deps.onShut();
    return "shut";
  }

  function release(): "open" {
    if (held.length > 0) for (const { run } of takeHeld()) run();
    return "open";
  }

  function takeHeld(): HeldWork[] {
    const taken = held;
    held = [];
    return taken;
  }

  const timer: Timer = clock.every(PERIOD_MS, look);

  return {
    look,
    /** Keeps work while `undecided`: it runs, in order, once the fence is open again, or is refused when it shuts. */
    hold(work: HeldWork): void {
      held.push(work);
    },
    /**
     * A heartbeat that was sent at `sentMs` has succeeded; `expired`: after the lease had run out. True: sessions may have
     * been taken over since the previous heartbeat, so each must be confirmed.
     */
    noteHeartbeat({
      sentMs,
      expired,
    }: {
      readonly sentMs: number;
      readonly expired: boolean;
    }): boolean {
      const previousMs = lastRenewalSentMs;
      // After this process was stopped (SIGSTOP) a heartbeat may come before the timer: the gap must not be missed.
      const wasShut = look() === "shut";
      lastRenewalSentMs = sentMs;
      isShut = false;
      look();
      return (
        wasShut || expired || (previousMs !== undefined && sentMs - previousMs >= SUSPICIOUS_GAP_MS)
      );
    },
    close: (): void => timer.cancel(),
  };
}

/**
 * The fence for input: an open one is asked once in a turn of the event loop, however many messages the turn has brought. What
 * they lead to is output, for which the fence is asked again (transport/fan-out.ts).
 */
export function askedOncePerTurn(
  fence: Pick<Fence, "look" | "hold">,
): Pick<Fence, "look" | "hold"> {
  let isOpen = false;
  const turn = {
    onTurnEnd(): void {
      isOpen = false;
    },
  };
  return {
    look() {
      if (isOpen) return "open";
      const state = fence.look();
      if (state !== "open") return state;
      isOpen = true;
      atTurnEnd("fill", turn);
      return "open";
    },
    hold: (work) => fence.hold(work),
  };
}
