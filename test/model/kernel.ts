/**
 * Simulated time and processes. Time stands still while something runs and jumps to the next event: a minute of an edge
 * takes some milliseconds. Nothing here waits for the machine, so a run is the same every time.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";

/**
 * Turns given to promises after each event. A chain that is longer goes on with the next event, which is as repeatable. A
 * real turn of Node's loop would cost as much and let in what is none of the model's.
 */
const PROMISE_TURNS = 12;
const DONE = Promise.resolve();

const START_WALL_MS = Date.UTC(2030, 0, 1);

export interface Kernel {
  /** Since an arbitrary start. */
  readonly nowMs: number;
  readonly wallMs: number;
  /** Calls `action` `delayMs` from now; among those that are due together, in the order of these calls. */
  after(delayMs: number, action: () => void): Timer;
  /** Lets time go by until `untilMs`, or until `isOver` after an event. */
  runUntil(untilMs: number, isOver: () => boolean): Promise<void>;
}

export function createKernel(): Kernel {
  const queue = createQueue();
  let nowMs = 0;

  return {
    get nowMs() {
      return nowMs;
    },
    get wallMs() {
      return START_WALL_MS + nowMs;
    },
    after(delayMs, action) {
      const event: QueuedEvent = { dueMs: nowMs + Math.max(0, delayMs), ordinal: 0, action };
      queue.add(event);
      return {
        cancel() {
          event.action = undefined;
        },
      };
    },
    async runUntil(untilMs, isOver) {
      for (;;) {
        const event = queue.takeUntil(untilMs);
        if (event === undefined) break;
        if (event.action === undefined) continue;
        nowMs = event.dueMs;
        event.action();
        for (let turn = 0; turn < PROMISE_TURNS; turn++) await DONE;
        if (isOver()) return;
      }
      nowMs = untilMs;
    },
  };
}

// --- processes ---

/**
 * A process: what comes to it and what its timers do. Stopped (SIGSTOP), it does nothing; what arrives waits, and when it
 * goes on, everything that arrived is read before the first timer runs, as Node does. Dead, it never does anything again.
 */
export interface Process {
  readonly name: string;
  readonly state: "running" | "stopped" | "dead";
  readonly clock: Clock;
  /** Something from outside: runs now, or when the process goes on. */
  deliver(input: () => void): void;
  stop(): void;
  goOn(): void;
  kill(): void;
  /** Called once, when it is killed: its sockets are closed by the system. */
  onKilled(action: () => void): void;
}

export function createProcess(kernel: Kernel, name: string): Process {
  let state: Process["state"] = "running";
  let inputs: (() => void)[] = [];
  let overdue: (() => void)[] = [];
  const atDeath: (() => void)[] = [];

  function runTimer(action: () => void): void {
    if (state === "running") action();
    else if (state === "stopped") overdue.push(action);
  }

  function after(delayMs: number, action: () => void): Timer {
    let isCancelled = false;
    const timer = kernel.after(delayMs, () =>
      runTimer(() => {
        if (!isCancelled) action();
      }),
    );
    return {
      cancel() {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  function every(periodMs: number, action: () => void): Timer {
    let timer = after(periodMs, again);
    let isCancelled = false;
    function again(): void {
      timer = after(periodMs, again);
      action();
      if (isCancelled) timer.cancel();
    }
    return {
      cancel() {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  return {
    name,
    get state() {
      return state;
    },
    clock: { nowMs: () => kernel.nowMs, wallMs: () => kernel.wallMs, after, every },
    deliver(input) {
      if (state === "running") input();
      else if (state === "stopped") inputs.push(input);
    },
    stop() {
      if (state === "running") state = "stopped";
    },
    goOn() {
      if (state !== "stopped") return;
      state = "running";
      const late = [...inputs, ...overdue];
      inputs = [];
      overdue = [];
      // One turn each, so that what one of them begins has come to its first wait before the next.
      for (const action of late) kernel.after(0, () => runTimer(action));
    },
    kill() {
      if (state === "dead") return;
      state = "dead";
      inputs = [];
      overdue = [];
      for (const action of atDeath) action();
    },
    onKilled(action) {
      atDeath.push(action);
    },
  };
}

// --- the queue: a binary heap ---

interface QueuedEvent {
  readonly dueMs: number;
  ordinal: number;
  /** Undefined: cancelled. */
  action: (() => void) | undefined;
}

function createQueue() {
  const heap: QueuedEvent[] = [];
  let added = 0;

  function isBefore(a: number, b: number): boolean {
    const one = heap[a];
    const other = heap[b];
    if (one === undefined || other === undefined) return one !== undefined;
    return one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.ordinal < other.ordinal);
  }

  function swap(a: number, b: number): void {
    [heap[a], heap[b]] = [heap[b] as QueuedEvent, heap[a] as QueuedEvent];
  }

  return {
    add(event: QueuedEvent): void {
      event.ordinal = added++;
      heap.push(event);
      for (let at = heap.length - 1; at > 0; ) {
        const parent = (at - 1) >> 1;
        if (!isBefore(at, parent)) return;
        swap(at, parent);
        at = parent;
      }
    },
    /** Takes out the first event if it is due by `untilMs`. */
    takeUntil(untilMs: number): QueuedEvent | undefined {
      const first = heap[0];
      if (first === undefined || first.dueMs > untilMs) return undefined;
      const last = heap.pop() as QueuedEvent;
      if (heap.length === 0) return first;
      heap[0] = last;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        let next = isBefore(left, at) ? left : at;
        if (isBefore(left + 1, next)) next = left + 1;
        if (next === at) return first;
        swap(at, next);
        at = next;
      }
    },
  };
}
