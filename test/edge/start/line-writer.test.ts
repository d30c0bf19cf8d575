import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LineWriter } from "../../../edge/start/line-writer.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

let folder: string;
let writer: LineWriter;
let terminal: PassThrough;

beforeEach(() => {
  folder = tempFolder();
  terminal = new PassThrough();
  writer = new LineWriter({ terminal, clock: systemClock });
});
afterEach(() => {
  writer.close();
});

test("lines reach the terminal and the file in the order in which they were written", async () => {
  const file = join(folder, "server.log");
  writer.write("one\n");
  writer.open(file);
  for (const line of ["two\n", "three\n", "four\n"]) writer.write(line);
  await expect.poll(() => readFileSync(file, "utf8")).toBe("one\ntwo\nthree\nfour\n");
  expect(String(terminal.read())).toBe("one\ntwo\nthree\nfour\n");
});

test("all lines are in the file after flush", async () => {
  const file = join(folder, "server.log");
  writer.open(file);
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}\n`);
  for (const line of lines) writer.write(line);
  await writer.flush();
  expect(readFileSync(file, "utf8")).toBe(lines.join(""));
});

test("queued lines are in the file after close", () => {
  const file = join(folder, "server.log");
  writer.open(file);
  writer.write("first\n");
  writer.write("second\n");
  writer.close();
  // The first write is under way on another thread; what waited behind it is written at once.
  expect(readFileSync(file, "utf8")).toContain("second\n");
});

test.runIf(existsSync("/dev/full"))(
  "a full disk costs lines, which are counted, and nothing else",
  async () => {
    writer.open("/dev/full");
    writer.write("lost\n");
    let dropped = 0;
    await expect
      .poll(() => {
        dropped += writer.takeDropped();
        return dropped;
      })
      .toBe(1);
    expect(String(terminal.read())).toBe("lost\n");
  },
);

test("memory stays bounded before the log file is opened", () => {
  const line = `${"x".repeat(8 * 1024 - 1)}\n`;
  for (let i = 0; i < 1536; i++) {
    writer.write(line);
    terminal.read();
  }
  // 12 MiB, of which 8 MiB wait.
  expect(writer.takeDropped()).toBe(512);
});

test("lines to standard output are dropped, not queued without limit, when its reader stops", () => {
  const line = `${"x".repeat(1024 * 1024 - 1)}\n`;
  for (let i = 0; i < 20; i++) writer.write(line);
  expect(terminal.writableLength).toBeLessThanOrEqual(9 * 1024 * 1024);
});
