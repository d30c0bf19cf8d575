/** In place of shared/base/turn.ts: turns of the simulated time. */
import type { TurnWork } from "../../shared/base/turn.ts";
import type { Kernel } from "../model/kernel.ts";

let kernel: Kernel | undefined;
let due: { readonly phase: "fill" | "flush"; readonly work: TurnWork }[] = [];

export function useKernel(next: Kernel): void {
  kernel = next;
  due = [];
}

export function atTurnEnd(phase: "fill" | "flush", work: TurnWork): void {
  if (due.length === 0) kernel?.after(0, run);
  due.push({ phase, work });
}

function run(): void {
  const works = due;
  due = [];
  for (const phase of ["fill", "flush"]) {
    for (const one of works) if (one.phase === phase) one.work.onTurnEnd();
  }
}
