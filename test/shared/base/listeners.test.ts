import { expect, test } from "vitest";
import { createListeners } from "../../../shared/base/listeners.ts";

function collect() {
  const errors: unknown[] = [];
  const heard: string[] = [];
  const listeners = createListeners<[name: string, count: number]>((error) => errors.push(error));
  const hear = (who: string) => (name: string, count: number) =>
    void heard.push(`${who}: ${name} ${count}`);
  return { errors, heard, listeners, hear };
}

test("every listener is called with all arguments, in the order in which they were added", () => {
  const { heard, listeners, hear } = collect();
  listeners.add(hear("first"));
  listeners.add(hear("second"));
  listeners.notify("a", 1);
  expect(heard).toEqual(["first: a 1", "second: a 1"]);
});

test("a listener that throws is reported, and the others are called", () => {
  const { errors, heard, listeners, hear } = collect();
  const failure = new Error("a fault");
  listeners.add(() => {
    throw failure;
  });
  listeners.add(hear("second"));
  listeners.notify("a", 1);
  expect(errors).toEqual([failure]);
  expect(heard).toEqual(["second: a 1"]);
});

test("a listener that is added twice is called twice, until each was taken back", () => {
  const { heard, listeners, hear } = collect();
  const listener = hear("one");
  const stops = [listeners.add(listener), listeners.add(listener)];
  listeners.notify("a", 1);
  expect(heard).toHaveLength(2);
  stops[0]?.();
  stops[0]?.();
  expect(listeners.size).toBe(1);
  listeners.notify("a", 2);
  expect(heard).toHaveLength(3);
  listeners.clear();
  listeners.notify("a", 3);
  expect(heard).toHaveLength(3);
});
