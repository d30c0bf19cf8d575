/**
 * The output of all connections in one turn of the event loop: written together at its end, after one look at the fence.
 * Most of a relay's cost is in the system calls; the end of the turn is less than a millisecond away.
 */
import { atTurnEnd, type TurnWork } from "../../../shared/base/turn.ts";
import type { Fence } from "../fence.ts";

/** A connection with output. */
export interface Output {
  /** Writes what it has been given; the fence is open. */
  writeBatch(): void;
}

export class FanOut implements TurnWork {
  readonly #fence: Pick<Fence, "look" | "hold">;
  #due: Output[] = [];

  constructor(fence: Pick<Fence, "look" | "hold">) {
    this.#fence = fence;
  }

  /** Writes the output of `output` at the end of this turn. Call it once per turn and connection. */
  add(output: Output): void {
    if (this.#due.length === 0) atTurnEnd("fill", this);
    this.#due.push(output);
  }

  onTurnEnd(): void {
    const due = this.#due;
    this.#due = [];
    this.write(due);
  }

  /**
   * Writes at once, if this worker may still speak for its sessions: a worker that lost them must send nothing. A fence that
   * shuts closes all connections, and their output goes back to the peers.
   */
  write(outputs: readonly Output[]): void {
    const state = this.#fence.look();
    if (state === "open") {
      for (const output of outputs) output.writeBatch();
    } else if (state === "undecided") {
      this.#fence.hold({ run: () => this.write(outputs), refuse() {} });
    }
  }
}
