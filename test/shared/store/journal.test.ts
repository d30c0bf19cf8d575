/** The journal of the embedded store: what is written is read back, whatever happens to the file. */
import fs from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { openJournal, readJournal } from "../../../shared/store/embedded/journal/journal.ts";
import type { Write } from "../../../shared/store/embedded/state/effects.ts";
import { collectingLog, type silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

describe("the journal", () => {
  let folder: string;
  let file: string;
  let clock: ReturnType<typeof createStepClock>;
  let lines: string[];
  let log: ReturnType<typeof silentLog>;

  beforeEach(() => {
    folder = tempFolder();
    file = path.join(folder, "store.journal");
    clock = createStepClock();
    ({ log, lines } = collectingLog());
  });

  /** What is in the file; a value is a record unless it is the word `bad`. */
  function read(): Record<string, unknown> {
    const parse = (_key: string, value: unknown) => (value === "bad" ? undefined : value);
    return Object.fromEntries(readJournal({ file, clock, log, parse }));
  }

  function openWith(live: Map<string, unknown>) {
    return openJournal({ file, clock, log, entries: () => live.entries() });
  }

  function asideFiles(): string[] {
    return fs.readdirSync(folder).filter((name) => name.includes(".bad-"));
  }

  it("the journal is empty where there is no file", () => {
    expect(read()).toEqual({});
    expect(lines).toEqual([]);
  });

  it("the journal has every change in the file before append returns, the last one of a key counting", () => {
    const journal = openWith(new Map());
    journal.append([
      ["a", 1],
      ["b", { text: "ü\n\u2028" }],
    ]);
    journal.append([["a", 2]]);
    journal.append([
      ["b", undefined],
      ["c", null],
    ]);
    expect(read()).toEqual({ a: 2, c: null });
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    journal.close();
    expect(read()).toEqual({ a: 2, c: null });
  });

  it("the journal starts with a new file of the live records", () => {
    fs.writeFileSync(file, '[["a",1]]\n[["a",2]]\n[["a",3]]\n');
    openWith(new Map([["a", 3]])).close();
    expect(fs.readFileSync(file, "utf8")).toBe('[["a",3]]\n');
  });

  it("the journal skips a torn last line silently", () => {
    fs.writeFileSync(file, '[["a",1]]\n[["b",2],["c","thr');
    expect(read()).toEqual({ a: 1 });
    expect(lines).toEqual([]);
    expect(asideFiles()).toEqual([]);
  });

  it("the journal skips zeros that a crash of the machine left at the end", () => {
    fs.writeFileSync(file, Buffer.concat([Buffer.from('[["a",1]]\n'), Buffer.alloc(8192)]));
    expect(read()).toEqual({ a: 1 });
    expect(asideFiles()).toEqual([]);
  });

  it("the journal uses a last line of which only the line feed is missing", () => {
    fs.writeFileSync(file, '[["a",1]]\n[["b",2]]');
    expect(read()).toEqual({ a: 1, b: 2 });
  });

  it("the journal backs up a file with corrupt lines, logs it, and restores the valid records", () => {
    const content = Buffer.concat([
      Buffer.from('[["a",1]]\nnonsense\n[["b",2],["c","bad"]]\n{"d":4}\n[["e"],["a"]]\n'),
      Buffer.from([0xff, 0xfe, 0x00, 0x0a]),
      Buffer.from('[[5,6]]\n[["f",1,2]]\nnull\n\n[["g",7]]\n'),
    ]);
    fs.writeFileSync(file, content);
    expect(read()).toEqual({ b: 2, g: 7 });
    const [aside = ""] = asideFiles();
    expect(fs.readFileSync(path.join(folder, aside))).toEqual(content);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(
      `WARN corrupt journal: backed up to ${path.join(folder, aside)}, valid records restored`,
    );
    expect(lines[0]).toContain("badLines=8");

    openWith(new Map(Object.entries({ b: 2, g: 7 }))).close();
    expect(fs.readFileSync(path.join(folder, aside))).toEqual(content);
    expect(read()).toEqual({ b: 2, g: 7 });
    expect(asideFiles()).toHaveLength(1);
  });

  it("the journal loses nothing after an oversized line", () => {
    fs.writeFileSync(file, `[["a",1]]\n${"x".repeat(20 * 1024 * 1024)}\n[["b",2]]\n`);
    expect(read()).toEqual({ a: 1, b: 2 });
  });

  it("the journal throws when the file cannot be read", () => {
    fs.mkdirSync(file);
    expect(() => read()).toThrow(/EISDIR/);
  });

  it("the journal throws when it cannot be opened, unless the disk is full or fails", () => {
    file = path.join(folder, "missing", "store.journal");
    expect(() => openWith(new Map())).toThrow(/ENOENT/);
  });

  it("the journal is compacted beyond 4 MiB and four times its live records, while changes continue", async () => {
    const live = new Map<string, unknown>();
    const journal = openWith(live);
    const set = (key: string, value: unknown) => {
      if (value === undefined) live.delete(key);
      else live.set(key, value);
      journal.append([[key, value]]);
    };
    const text = "x".repeat(1000);
    for (let i = 0; i < 6000; i++) set(`key-${i % 1000}`, `${i} ${text}`);
    const grown = fs.statSync(file).size;
    expect(grown).toBeGreaterThan(6_000_000);

    clock.advance(3000);
    // Slices are written in between; every kind of change happens before, after and between them.
    let i = 0;
    await expect
      .poll(
        () => {
          i++;
          set(`key-${i % 1000}`, `late ${i}`);
          set(`key-${999 - (i % 500)}`, undefined);
          set(`new-${i}`, i);
          if (i % 3 === 0) set(`new-${i - 1}`, undefined);
          set("last", `${i} ${text}`);
          return fs.statSync(file).size;
        },
        { interval: 1 },
      )
      .toBeLessThan(2_500_000);
    expect(read()).toEqual(Object.fromEntries(live));
    set("after", 1);
    journal.close();
    expect(read()).toEqual(Object.fromEntries(live));
    expect(fs.readdirSync(folder)).toEqual(["store.journal"]);
    expect(lines).toEqual([]);
  });

  it("the journal is not compacted when its live records are large", async () => {
    const live = new Map<string, unknown>();
    for (let i = 0; i < 3000; i++) live.set(`key-${i}`, "x".repeat(1000));
    const journal = openWith(live);
    const { ino, size } = fs.statSync(file);
    for (let i = 0; i < 3000; i++) journal.append([[`key-${i}`, "x".repeat(1000)]]);
    clock.advance(3000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(fs.statSync(file)).toMatchObject({ ino, size: 2 * size });
    journal.close();
  });

  it("the journal abandons a running compaction when it is closed, and loses nothing", () => {
    const live = new Map<string, unknown>();
    const journal = openWith(live);
    for (let i = 0; i < 5000; i++) {
      live.set("key", `${i} ${"x".repeat(1000)}`);
      journal.append([["key", live.get("key")]]);
    }
    clock.advance(3000);
    journal.append([["key", "last"]]);
    journal.close();
    expect(read()).toEqual({ key: "last" });
    expect(fs.readdirSync(folder)).toEqual(["store.journal"]);
  });

  it("the journal continues with the grown file when compaction fails, counts the failure, and retries", async () => {
    const counters = createCounters();
    const live: Write[] = [["a", 1]];
    const journal = openJournal({ file, clock, log, counters, entries: () => live });
    fs.mkdirSync(path.join(`${file}.new`, "in-the-way"), { recursive: true });
    for (let i = 0; i < 5000; i++) journal.append([["a", `${i} ${"x".repeat(1000)}`]]);
    clock.advance(3000);
    expect(counters.value("store.failures", "journal")).toBe(1);
    expect(lines.filter((line) => line.includes("cannot compact"))).toHaveLength(1);

    fs.rmSync(`${file}.new`, { recursive: true });
    clock.advance(3000);
    await expect.poll(() => fs.statSync(file).size).toBeLessThan(100);
    journal.append([["b", 2]]);
    expect(read()).toEqual({ a: 1, b: 2 });
    journal.close();
  });
});
