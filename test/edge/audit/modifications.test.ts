/** Whatever is changed in an audit log at random is found. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyFiles } from "../../../edge/audit/verify.ts";
import { auditFolder, keysOf, readAudit, writeAuditLog } from "../../support/audit.ts";

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

test(`each of ${RUNS} random changes is found`, async () => {
  const [source, target] = [auditFolder(), auditFolder()];
  const checkpoints = [
    await writeAuditLog(source, 14, { maxFileBytes: 2500 }),
    await writeAuditLog(source, 5),
    await writeAuditLog(source, 6, { worker: "worker-2" }),
  ];
  const original = readAudit(source);
  const names = Object.keys(original);
  expect(names.length).toBeGreaterThan(4);
  const kinds = Object.entries(CHANGES);
  const missed: string[] = [];
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = randomFrom(seed * 7919);
    const files: Files = {};
    for (const [name, text] of Object.entries(original)) files[name] = Buffer.from(text);
    const name = names[random(names.length)] ?? "";
    const [kind, change] = kinds[seed % kinds.length] ?? [];
    change?.(files, name, random);
    if (!(await isFound(files))) missed.push(`seed ${seed}: ${kind} in ${name}`);
  }
  expect(missed).toEqual([]);

  async function isFound(files: Files): Promise<boolean> {
    const paths = Object.entries(files).map(([name, bytes]) => {
      const path = join(target, name);
      writeFileSync(path, bytes);
      return path;
    });
    const result = await verifyFiles(paths, {
      isFolder: true,
      hasAllWorkers: true,
      keys: keysOf(),
      checkpoints,
      days: 90,
      wallMs: Date.now(),
    });
    return !result.isFine;
  }
}, 120_000);
