/** Makes key pairs ahead of their use, because one takes seconds. */
import type { Signal } from "@preact/signals";
import type { WaitingStep } from "../model/app.ts";
import { generateKeys, type Keys } from "../session/keys.ts";

export function createKeySupply() {
  let next: Promise<Keys> | undefined;

  function prepare(): Promise<Keys> {
    next ??= generateKeys();
    next.catch(() => {});
    return next;
  }

  return {
    /** Begins to make a pair, while the user types a name. */
    prepare: (): void => void prepare(),
    /** A pair that nobody else uses; `step` says so while it is not ready. */
    async take(step: Signal<WaitingStep>): Promise<Keys> {
      const pending = prepare();
      next = undefined;
      const before = step.peek();
      step.value = "key";
      const taken = await pending;
      step.value = before;
      return taken;
    },
  };
}
