/** Different people are counted once each, by all workers together, and in a text of limited size. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { MAX_STREAM_TEXT_CHARS } from "../../../shared/store/streams.ts";
import { UniquePeople } from "../../../worker/usage/unique-people.ts";

const hashOf = (person: string): string =>
  createHash("sha256").update(person).digest("base64url").slice(0, 11);

function count(from: number, to: number): UniquePeople {
  const people = new UniquePeople();
  for (let number = from; number < to; number++) people.add(hashOf(`person ${number}`));
  return people;
}

test("up to two hundred people are counted exactly, each once", () => {
  const people = count(0, 200);
  people.addAll([hashOf("person 0"), hashOf("person 199")]);
  expect(people.count).toBe(200);
  const read = new UniquePeople();
  expect(read.merge(people.store())).toBe(true);
  expect(read.count).toBe(200);
});

test.each([201, 1000, 5000, 12_000, 20_000, 100_000, 500_000])(
  "%i people are estimated with an error below five percent, in a text that a stream takes",
  (number) => {
    const people = count(0, number);
    expect(Math.abs(people.count / number - 1)).toBeLessThan(0.05);
    const text = JSON.stringify(people.store());
    expect(text.length).toBeLessThan(MAX_STREAM_TEXT_CHARS - 1000);
    const read = new UniquePeople();
    read.merge(people.store());
    expect(read.count).toBe(people.count);
  },
);

test("merged counts have each person once, in whatever form and order", () => {
  const parts = [count(0, 150), count(100, 3000), count(2000, 2100), count(0, 10)];
  const whole = count(0, 3000).count;
  for (const order of [parts, [...parts].reverse()]) {
    const merged = new UniquePeople();
    for (const part of order) merged.merge(part.store());
    expect(merged.count).toBe(whole);
  }
});

test("small counts of many days stay exact together", () => {
  const month = new UniquePeople(Number.POSITIVE_INFINITY);
  for (let day = 0; day < 30; day++) month.merge(count(day * 100, day * 100 + 200).store());
  expect(month.count).toBe(3100);
});

test.each([
  ["no base64", { sketch: "***" }],
  ["too much", { sketch: count(0, 300).store().sketch?.slice(0, 40) }],
  ["nothing", { sketch: "" }],
  ["hashes that are none", { exact: "!!!!!!!!!!!" }],
])("a damaged text counts nobody: %s", (_name, stored) => {
  const people = new UniquePeople();
  people.merge(stored);
  expect(people.count).toBe(0);
});
