/** Counts events that are dropped, until a line says how many are missing and of when. */
export class Gap {
  #dropped: { events: number; readonly fromMs: number; toMs: number } | undefined;

  get isEmpty(): boolean {
    return this.#dropped === undefined;
  }

  /** `atMs`: when the event happened, wall time. */
  add(atMs: number): void {
    this.#dropped ??= { events: 0, fromMs: atMs, toMs: atMs };
    this.#dropped.events++;
    this.#dropped.toMs = atMs;
  }

  /** The details of the line; counts from zero again. Undefined: nothing was dropped. */
  take(): { readonly events: number; readonly from: string; readonly to: string } | undefined {
    const dropped = this.#dropped;
    this.#dropped = undefined;
    return dropped && { events: dropped.events, ...showTimes(dropped) };
  }
}

/** As in the lines about a time. */
export function showTimes({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }): {
  readonly from: string;
  readonly to: string;
} {
  return { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() };
}
