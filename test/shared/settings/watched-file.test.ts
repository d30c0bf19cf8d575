/** Files of an operator that change together, and one that is watched no more. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { type WatchedFiles, watchFiles } from "../../../shared/settings/watched-file.ts";
import { silentLog } from "../../support/logs.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

function rig() {
  const folder = tempFolder();
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const watch = (onChange: () => void): WatchedFiles => {
    const files = watchFiles({ clock: systemClock, log: silentLog(), onChange });
    onTestFinished(() => files.close());
    return files;
  };
  return { write, watch };
}

test("a change of several files is reported once", async () => {
  const { write, watch } = rig();
  let changes = 0;
  const files = watch(() => changes++);
  for (const name of ["a", "b", "none"]) files.add(name === "none" ? name : write(name, "1"));
  write("a", "two");
  write("b", "two");
  await until("it is reported", () => changes > 0);
  write("b", "three");
  await until("the next is reported", () => changes > 1);
  expect(changes).toBe(2);
});

test("a file is watched from the moment it is added, and no more after all were cleared", async () => {
  const { write, watch } = rig();
  let changes = 0;
  let looks = 0;
  const files = watch(() => changes++);
  files.add(write("a", "1"));
  files.clear();
  files.add(write("b", "1"));
  write("a", "two");
  // Two changes of another file, one after the other, take longer than that of the first would.
  const others = watch(() => looks++);
  others.add(write("c", "1"));
  write("c", "two");
  await until("it was looked at", () => looks === 1);
  write("c", "three");
  await until("it was looked at again", () => looks === 2);
  expect(changes).toBe(0);
  write("b", "two");
  await until("it is reported", () => changes === 1);
});
