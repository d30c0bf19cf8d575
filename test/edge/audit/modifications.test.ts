/** Whatever is changed in an audit log at random is found. */
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { type Verification, verifyFiles } from "../../../edge/audit/verify.ts";
import type { Checkpoint } from "../../../shared/audit/checkpoint.ts";
import { keysOf, readAudit, writeAuditLog } from "../../support/audit.ts";
import { tempFolder } from "../../support/temp-folder.ts";

/** More by hand: 10 ms each. */
const RUNS = Number(process.env["TEST_AUDIT_CHANGES"] ?? 500);

/** Repeatable: the seed is in the message of a failure. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Names of files with their bytes. */
type Files = Record<string, Buffer>;

function linesOf(file: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < file.length; ) {
    const end = file.indexOf("\n", from) + 1;
    lines.push(file.subarray(from, end));
    from = end;
  }
  return lines;
}

type Change = (files: Files, name: string, random: (below: number) => number) => void;

function changeLines(
  change: (lines: Buffer[], at: number, random: (n: number) => number) => void,
): Change {
  return (files, name, random) => {
    const lines = linesOf(files[name] ?? Buffer.alloc(0));
    change(lines, random(lines.length), random);
    files[name] = Buffer.concat(lines);
  };
}

function changeBytes(
  change: (bytes: Buffer, at: number, random: (n: number) => number) => Buffer,
): Change {
  return (files, name, random) => {
    const bytes = files[name] ?? Buffer.alloc(0);
    files[name] = change(bytes, random(bytes.length), random);
  };
}

const CHANGES: Readonly<Record<string, Change>> = {
  "another byte": changeBytes((bytes, at, random) => {
    const changed = Buffer.from(bytes);
    changed[at] = ((changed[at] ?? 0) + 1 + random(255)) % 256;
    return changed;
  }),
  "a byte less": changeBytes((bytes, at) =>
    Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]),
  ),
  "a byte more": changeBytes((bytes, at, random) =>
    Buffer.concat([bytes.subarray(0, at), Buffer.from([random(256)]), bytes.subarray(at)]),
  ),
  "another end": changeBytes((bytes, at) => bytes.subarray(0, at)),
  "more at the end": changeBytes((bytes, _at, random) =>
    Buffer.concat([bytes, Buffer.from([random(256), random(256)])]),
  ),
  "a line less": changeLines((lines, at) => lines.splice(at, 1)),
  "a line twice": changeLines((lines, at) => lines.splice(at, 0, lines[at] ?? Buffer.alloc(0))),
  "lines exchanged": changeLines((lines, at, random) => {
    const other = (at + 1 + random(lines.length - 1)) % lines.length;
    [lines[at], lines[other]] = [lines[other] ?? Buffer.alloc(0), lines[at] ?? Buffer.alloc(0)];
  }),
  "a line of another file": (files, name, random) => {
    const names = Object.keys(files).filter((one) => one !== name);
    const others = linesOf(files[names[random(names.length)] ?? ""] ?? Buffer.alloc(0));
    const lines = linesOf(files[name] ?? Buffer.alloc(0));
    lines.splice(random(lines.length + 1), 0, others[random(others.length)] ?? Buffer.alloc(0));
    files[name] = Buffer.concat(lines);
  },
  "no file": (files, name) => {
    delete files[name];
  },
  "the same content in two files": (files, name, random) => {
    const names = Object.keys(files).filter((one) => one !== name);
    const other = files[names[random(names.length)] ?? ""];
    if (other !== undefined) files[name] = other;
  },
};

interface Original {
  readonly files: Readonly<Record<string, string>>;
  readonly checkpoints: readonly Checkpoint[];
  /** Verifies these files instead. */
  readonly verify: (files: Files) => Promise<Verification>;
}

/** Three chains of two workers; the first one is over several files. */
async function writeOriginal(): Promise<Original> {
  const [source, target] = [tempFolder(), tempFolder()];
  const checkpoints = [
    await writeAuditLog(source, 14, { maxFileBytes: 2500 }),
    await writeAuditLog(source, 5),
    await writeAuditLog(source, 6, { worker: "worker-2" }),
  ];
  const files = readAudit(source);
  expect(Object.keys(files).length).toBeGreaterThan(4);
  return {
    files,
    checkpoints,
    verify(changed) {
      const paths = Object.entries(changed).map(([name, bytes]) => {
        const path = join(target, name);
        writeFileSync(path, bytes);
        return path;
      });
      const options = { isFolder: true, hasAllWorkers: true, days: 90, wallMs: Date.now() };
      return verifyFiles(paths, { ...options, keys: keysOf(), checkpoints });
    },
  };
}

function bytesOf(files: Original["files"]): Files {
  return Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]));
}

test(`each of ${RUNS} random changes is found`, async () => {
  const { files: original, verify } = await writeOriginal();
  const names = Object.keys(original);
  const kinds = Object.entries(CHANGES);
  const missed: string[] = [];
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = randomFrom(seed * 7919);
    const files = bytesOf(original);
    const name = names[random(names.length)] ?? "";
    const [kind, change] = kinds[seed % kinds.length] ?? [];
    change?.(files, name, random);
    if ((await verify(files)).isFine) missed.push(`seed ${seed}: ${kind} in ${name}`);
  }
  expect(missed).toEqual([]);
}, 120_000);

test.each([
  ["any line", () => Number.POSITIVE_INFINITY],
  ["the first line of a file", (text: string) => text.indexOf("\n") + 1],
])(
  "each of random changes of one byte in %s is found at that line, and is not called missing",
  async (_title, lengthOf) => {
    const { files: original, verify } = await writeOriginal();
    const names = Object.keys(original);
    const wrong: string[] = [];
    for (let seed = 1; seed <= RUNS / 2; seed++) {
      const random = randomFrom(seed * 104_729);
      const files = bytesOf(original);
      const name = names[random(names.length)] ?? "";
      const bytes = files[name] ?? Buffer.alloc(0);
      const at = random(Math.min(bytes.length, lengthOf(original[name] ?? "")));
      const line = bytes.subarray(0, at).toString().split("\n").length;
      bytes[at] = ((bytes[at] ?? 0) + 1 + random(255)) % 256;
      const { chains, missing } = await verify(files);
      const found = chains.flatMap(({ problem }) => problem ?? []);
      const isRight = found.every(
        (one) => one.kind !== "missing" && basename(one.file) === name && one.line === line,
      );
      if (isRight && found.length === 1 && missing.length === 0) continue;
      const texts = found.map((one) => `${basename(one.file)} line ${one.line}: ${one.text}`);
      wrong.push(`seed ${seed}: ${name} line ${line}, byte ${at}: ${texts.join("; ")}`);
    }
    expect(wrong).toEqual([]);
  },
  120_000,
);

test("a first line is found with another kind, number, chain, key or line before it was changed", async () => {
  const { files: original, verify } = await writeOriginal();
  const [first = "", second = ""] = Object.keys(original);
  const changes: readonly [string, string | RegExp, string][] = [
    [first, "audit.started", "audit.startec"],
    [first, '"seq":1,', '"seq":9,'],
    [first, /"chain":"./, '"chain":"-'],
    [first, /"key":"./, '"key":"-'],
    [second, "audit.continued", "audit.continuec"],
    [second, /"seq":./, '"seq":9'],
    [second, /"previous":{"chain":"./, '"previous":{"chain":"-'],
    [second, /("previous":{.*"seq":)./, "$19"],
  ];
  for (const withoutFirst of [false, true]) {
    for (const [name, from, to] of changes) {
      if (withoutFirst && name === first) continue;
      const files = bytesOf(original);
      files[name] = Buffer.from((original[name] ?? "").replace(from, to));
      if (withoutFirst) delete files[first];
      const { chains } = await verify(files);
      const [problem] = chains.flatMap((chain) => chain.problem ?? []);
      expect([String(from), problem?.kind, problem?.text, problem?.line]).toEqual([
        String(from),
        "changed",
        expect.stringContaining("this line was changed"),
        1,
      ]);
    }
  }
});
