/** A log file: how much of it is kept, and that rotation neither loses nor splits a line. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LineFile } from "../../../shared/logs/line-file.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const KIB = 1024;
const DAY_MS = 24 * 60 * 60 * 1000;
let folder: string;
let path: string;
let clock: StepClock;
let file: LineFile;

beforeEach(() => {
  folder = tempFolder();
  path = join(folder, "access.log");
  // Noon in the local time zone.
  clock = createStepClock(new Date(2030, 4, 17, 12).getTime());
  file = new LineFile({ clock });
});
afterEach(() => {
  file.close();
});

const names = (): string[] => readdirSync(folder).sort();
const read = (name: string): string => readFileSync(join(folder, name), "utf8");
const bytesOnDisk = (): number =>
  names().reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

async function write(...lines: string[]): Promise<void> {
  for (const line of lines) file.write(`${line}\n`);
  await file.flush();
}

describe("rotation by size", () => {
  test("the files never exceed their limit while ten times as much is written, and every line is complete", async () => {
    const limits = { maxBytes: 64 * KIB, maxFiles: 4 };
    const cap = limits.maxBytes * limits.maxFiles;
    file.open(path, limits);
    let written = 0;
    let most = 0;
    let count = 0;
    while (written < 10 * cap) {
      for (let i = 0; i < 100; i++) {
        const line = `line ${count++} ${"ä".repeat(count % 300)} end\n`;
        written += Buffer.byteLength(line);
        file.write(line);
      }
      await file.flush();
      most = Math.max(most, bytesOnDisk());
    }
    expect(most).toBeLessThanOrEqual(cap);
    // The limit is also used.
    expect(most).toBeGreaterThan(0.9 * cap);
    expect(names()).toEqual(["access.log", "access.log.1", "access.log.2", "access.log.3"]);
    const kept =
      [3, 2, 1].map((number) => read(`access.log.${number}`)).join("") + read("access.log");
    const lines = kept.split("\n");
    expect(lines.pop()).toBe("");
    const first = count - lines.length;
    expect(lines).toEqual(
      lines.map((_, i) => `line ${first + i} ${"ä".repeat((first + i + 1) % 300)} end`),
    );
    expect(file.takeDropped()).toBe(0);
  });

  test("lines that are pending at the same time fill as many files as they need", async () => {
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 10 });
    const lines = Array.from({ length: 2000 }, (_, i) => `${i} ${"x".repeat(200)}`);
    await write(...lines);
    const all = names().reverse().map(read).join("");
    expect(names().length).toBe(7);
    expect(all).toBe(lines.map((line) => `${line}\n`).join(""));
  });

  test("the size includes what an earlier process wrote", async () => {
    writeFileSync(path, `${"x".repeat(60 * KIB)}\n`);
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 2 });
    await write("y".repeat(5 * KIB));
    expect(names()).toEqual(["access.log", "access.log.1"]);
    expect(statSync(join(folder, "access.log.1")).size).toBe(60 * KIB + 1);
  });

  test("rotated files beyond lowered limits are deleted", async () => {
    for (const [number, kib] of [
      [1, 10],
      [2, 1000],
      [3, 1],
      [9, 1],
    ] as const) {
      writeFileSync(`${path}.${number}`, "x".repeat(kib * KIB));
    }
    writeFileSync(`${path}.1.gz`, "not ours");
    writeFileSync(path, "x".repeat(64 * KIB));
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 4 });
    await write("new");
    // One megabyte is more than the limit of all files together.
    expect(names()).toEqual(["access.log", "access.log.1", "access.log.1.gz", "access.log.2"]);
    expect(bytesOnDisk()).toBe(74 * KIB + "not ours".length + "new\n".length);
  });

  test("a log of a single file starts again from empty", async () => {
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 1 });
    await write("x".repeat(40 * KIB), "y".repeat(40 * KIB), "last");
    // Lines are cut at 16 KiB.
    await write(...Array.from({ length: 5 }, () => "z".repeat(15 * KIB)));
    expect(names()).toEqual(["access.log"]);
    expect(statSync(path).size).toBeLessThanOrEqual(64 * KIB);
  });

  test("a line of a megabyte is cut", async () => {
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 2 });
    await write("x".repeat(1024 * KIB), "next");
    expect(read("access.log")).toBe(`${"x".repeat(16 * KIB)}…\nnext\n`);
  });

  test("without limits or with 0 files nothing is rotated, which leaves it to logrotate", async () => {
    file.open(path, { maxBytes: 64 * KIB, maxFiles: 0 });
    await write(...Array.from({ length: 10 }, () => "x".repeat(10 * KIB)));
    clock.advance(2 * DAY_MS);
    await write("next");
    expect(names()).toEqual(["access.log"]);
  });
});

describe("rotation by day", () => {
  const limits = { maxBytes: 1024 * KIB, maxFiles: 3 };

  test("the first line of a day starts a new file", async () => {
    file.open(path, limits);
    await write("one");
    clock.setWall(new Date(2030, 4, 17, 23, 59, 59, 999).getTime());
    await write("two");
    clock.advance(1);
    await write("three");
    expect(read("access.log.1")).toBe("one\ntwo\n");
    expect(read("access.log")).toBe("three\n");
    clock.advance(DAY_MS);
    await write("four");
    clock.advance(5 * DAY_MS);
    await write("five");
    expect(names().map((name) => [name, read(name)])).toEqual([
      ["access.log", "five\n"],
      ["access.log.1", "four\n"],
      ["access.log.2", "three\n"],
    ]);
  });

  test("the first line of a day starts a new file even if an earlier process wrote the old one", async () => {
    writeFileSync(path, "yesterday\n");
    const yesterday = new Date(clock.wallMs() - DAY_MS);
    utimesSync(path, yesterday, yesterday);
    file.open(path, limits);
    await write("today");
    expect(read("access.log.1")).toBe("yesterday\n");
    expect(read("access.log")).toBe("today\n");
  });

  test("an empty file is not rotated", async () => {
    file.open(path, limits);
    clock.advance(3 * DAY_MS);
    await write("one");
    expect(names()).toEqual(["access.log"]);
  });

  test("setting the wall clock back rotates nothing", async () => {
    file.open(path, limits);
    await write("one");
    clock.setWall(clock.wallMs() - 3 * DAY_MS);
    await write("two");
    expect(names()).toEqual(["access.log"]);
  });
});

describe("changes of the file by other programs", () => {
  const limits = { maxBytes: 64 * KIB, maxFiles: 3 };

  test("a file that another program renamed is reopened, not rotated again", async () => {
    file.open(path, limits);
    await write("one");
    renameSync(path, join(folder, "taken-away"));
    clock.advance(DAY_MS);
    writeFileSync(path, "another's\n");
    utimesSync(path, new Date(clock.wallMs()), new Date(clock.wallMs()));
    await write("two");
    expect(names()).toEqual(["access.log", "taken-away"]);
    expect(read("access.log")).toBe("another's\ntwo\n");
  });

  test("reopening during a rotation loses no line", async () => {
    file.open(path, limits);
    const lines = Array.from({ length: 60 }, (_, i) => `${i} ${"x".repeat(2 * KIB)}`);
    for (const line of lines) {
      file.write(`${line}\n`);
      file.open(path, limits);
      await Promise.resolve();
    }
    await file.flush();
    expect(names().reverse().map(read).join("")).toBe(lines.map((line) => `${line}\n`).join(""));
  });

  test("a file that is copied and truncated is rotated by its actual size, and contains no NUL", async () => {
    file.open(path, limits);
    const line = (name: string): string => `${name} ${"x".repeat(1000)}`;
    for (let round = 0; round < 5; round++) {
      const lines = Array.from({ length: 50 }, (_, i) => line(`${round}/${i}`));
      await write(...lines);
      expect(names()).toEqual(["access.log"]);
      expect(read("access.log")).toBe(lines.map((one) => `${one}\n`).join(""));
      truncateSync(path);
    }
    await write(...Array.from({ length: 80 }, (_, i) => line(`last/${i}`)));
    expect(names()).toEqual(["access.log", "access.log.1"]);
    expect(statSync(`${path}.1`).size).toBeGreaterThan(62 * KIB);
    expect(names().reverse().map(read).join("")).not.toContain("\0");
  });

  test("a file that is truncated at midnight is not rotated as well", async () => {
    file.open(path, limits);
    await write("yesterday");
    clock.setWall(new Date(2030, 4, 18, 0, 0, 1).getTime());
    truncateSync(path);
    await write("one", "two");
    await write("three");
    expect(names()).toEqual(["access.log"]);
    clock.advance(DAY_MS);
    await write("tomorrow");
    expect(read("access.log.1")).toBe("one\ntwo\nthree\n");
  });

  test("the size includes what other programs append", async () => {
    file.open(path, limits);
    await write("one");
    appendFileSync(path, `${"x".repeat(63 * KIB)}\n`);
    await write("y".repeat(2 * KIB));
    expect(statSync(`${path}.1`).size).toBe(63 * KIB + "one\n\n".length);
    expect(read("access.log")).toBe(`${"y".repeat(2 * KIB)}\n`);
  });

  test.each([limits, undefined])(
    "a deleted log file is created again, and no line is lost",
    async (own) => {
      file.open(path, own);
      await write("one");
      rmSync(path);
      await write("two", "three");
      expect(read("access.log")).toBe("two\nthree\n");
      rmSync(path);
      writeFileSync(path, "another's\n");
      utimesSync(path, new Date(clock.wallMs()), new Date(clock.wallMs()));
      await write("four");
      expect(read("access.log")).toBe("another's\nfour\n");
      expect(file.takeDropped()).toBe(0);
    },
  );

  test("a device is not rotated", async () => {
    symlinkSync("/dev/null", path);
    file.open(path, limits);
    await write(...Array.from({ length: 20 }, () => "x".repeat(10 * KIB)));
    expect(names()).toEqual(["access.log"]);
    expect(file.takeDropped()).toBe(0);
  });
});

describe("when rotation fails", () => {
  const limits = { maxBytes: 64 * KIB, maxFiles: 3 };

  test("no file exceeds its limit: lines are dropped and counted until a rotation succeeds", async () => {
    file.open(path, limits);
    await write(...Array.from({ length: 6 }, () => "x".repeat(10 * KIB)));
    rmSync(folder, { recursive: true });
    await write("y".repeat(10 * KIB), "small");
    expect(file.takeDropped()).toBe(2);
    expect(file.lastProblem()).toMatchObject({ code: "ENOENT" });
    mkdirSync(folder);
    await write("y".repeat(10 * KIB));
    expect(file.takeDropped()).toBe(1);
    clock.advance(10_000);
    await write("z".repeat(10 * KIB));
    expect(read("access.log")).toBe(`${"z".repeat(10 * KIB)}\n`);
    expect(file.takeDropped()).toBe(0);
  });

  test.runIf(existsSync("/dev/full"))("a full disk costs lines, which are counted", async () => {
    symlinkSync("/dev/full", path);
    file.open(path, limits);
    await write("one", "two");
    expect(file.takeDropped()).toBe(2);
    expect(file.lastProblem()).toMatchObject({ code: "ENOSPC" });
  });
});
