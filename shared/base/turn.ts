/**
 * The end of the present turn of the event loop, when everything that was read in it has been handled: what many parts
 * write in one turn leaves in few system calls.
 */

export interface TurnWork {
  onTurnEnd(): void;
}

/** `fill`: still produces output. `flush`: sends it. */
type Phase = "fill" | "flush";

const queues: Record<Phase, TurnWork[]> = { fill: [], flush: [] };
let isScheduled = false;

/** Calls `work` once at the end of this turn: all of `fill` before all of `flush`, each in the order of the calls. */
export function atTurnEnd(phase: Phase, work: TurnWork): void {
  queues[phase].push(work);
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(run);
}

function run(): void {
  try {
    runPhase("fill");
    runPhase("flush");
  } finally {
    isScheduled = queues.fill.length > 0 || queues.flush.length > 0;
    if (isScheduled) setImmediate(run);
  }
}

function runPhase(phase: Phase): void {
  const works = queues[phase];
  if (works.length === 0) return;
  queues[phase] = [];
  let done = 0;
  try {
    for (const work of works) {
      done++;
      work.onTurnEnd();
    }
  } finally {
    // An exception of one concerns none of the others: they are called in the next turn.
    if (done < works.length) queues[phase].unshift(...works.slice(done));
  }
}
