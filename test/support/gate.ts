/** A point at which something waits until the test lets it go on. */
export interface Gate {
  readonly opened: Promise<void>;
  open(this: void): void;
}

export function createGate(): Gate {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
