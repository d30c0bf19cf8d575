import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { FAULTS } from "./faults.ts";
import { plant } from "./plant.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("each fault of the mutation check fits the sources, and its tests are there", () => {
  expect(FAULTS).toHaveLength(30);
  for (const fault of FAULTS) {
    const text = readFileSync(root + fault.file, "utf8");
    expect(plant(fault, text)).not.toBe(text);
    expect(fault.tests.filter((path) => !existsSync(root + path))).toEqual([]);
  }
});
