/** Verifying audit logs: what is wrong is found, and named with its place. */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { formatVerification } from "../../../edge/audit/report.ts";
import { type VerifyOptions, verifyFiles, withRestOfChains } from "../../../edge/audit/verify.ts";
import type { Checkpoint } from "../../../shared/audit/checkpoint.ts";
import { findFiles } from "../../../shared/audit/files.ts";
import {
  auditEvent,
  firstFile,
  keysOf,
  openAuditLog,
  readAudit,
  verifyAudit,
  writeAuditLog,
} from "../../support/audit.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

async function verify(
  folder: string,
  checkpoints: readonly Checkpoint[] = [],
  more: Partial<VerifyOptions> = {},
) {
  return verifyAudit(folder, { checkpoints, ...more });
}

/** The only problem of the only chain. */
async function problemOf(folder: string, checkpoints: readonly Checkpoint[] = []) {
  const { chains, isFine } = await verify(folder, checkpoints);
  const [chain] = chains;
  const { file = "", ...problem } = chain?.problem ?? {};
  return {
    isFine,
    further: chain?.furtherProblems,
    ...problem,
    ...(chain?.problem && { file: basename(file) }),
  };
}

/** A folder with one file of one chain: a first line, ten events, a last line. */
async function oneFile() {
  const folder = tempFolder();
  const checkpoint = await writeAuditLog(folder, 10);
  const [name = ""] = Object.keys(readAudit(folder));
  const path = join(folder, name);
  const lines = () => readFileSync(path, "utf8").split("\n").slice(0, -1);
  const write = (changed: readonly string[]) =>
    writeFileSync(path, changed.map((line) => `${line}\n`).join(""));
  return { folder, checkpoint, name, path, lines, write };
}

describe("a log that is as it was written", () => {
  test("a log that is as it was written is fine, over files and chains, and complete", async () => {
    const folder = tempFolder();
    const first = await writeAuditLog(folder, 30, { maxFileBytes: 4000 });
    const second = await writeAuditLog(folder, 5);
    const result = await verify(folder, [first, second]);
    expect(result.isFine).toBe(true);
    expect(result.chains.map(({ isEnded, certain }) => [isEnded, certain?.seq])).toEqual([
      [true, first.seq],
      [true, second.seq],
    ]);
    expect(result.chains[0]?.files.length).toBeGreaterThan(3);
    expect(result.chains[0]?.lines).toBe(first.seq);
  });

  test("a log is fine when its process still writes, and verify says up to where it is certain", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    for (let n = 0; n < 5; n++) log.write(auditEvent());
    await log.flush();
    const [file = ""] = Object.values(readAudit(folder));
    const third = JSON.parse(file.split("\n")[2] ?? "") as { chain: string; mac: string };
    const checkpoint = { ...third, worker: "worker-1", seq: 3, atMs: Date.now() };
    const result = await verify(folder, [checkpoint]);
    expect(result.isFine).toBe(true);
    expect(result.chains[0]?.certain).toMatchObject({ seq: 3, line: 3 });
    const text = formatVerification(result, false);
    expect(text).toContain("certain up to seq 3 (audit-worker-1-");
    expect(text).toContain("after seq 6: whether more followed cannot be told");
  });

  test("a log is fine when its last line was not written to its end, and verify says so", async () => {
    const { folder, path, checkpoint, lines } = await oneFile();
    const text = readFileSync(path, "utf8");
    const cut = text.length - Math.floor((lines().at(-1)?.length ?? 0) / 2);
    truncateSync(path, cut);
    const result = await verify(folder, [{ ...checkpoint, seq: 11 }]);
    expect(result).toMatchObject({ isFine: true, chains: [{ torn: { line: 12 } }] });
    expect((await verify(folder, [checkpoint])).chains[0]?.problem?.kind).toBe("cut");
  });

  test("a log is fine wherever its last line was broken off, also within a character", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent("Zoë"));
    await log.flush();
    const path = await firstFile(folder);
    const bytes = readFileSync(path);
    const [first = ""] = bytes.toString().split("\n");
    for (let length = first.length + 1; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      expect([length, (await verify(folder)).isFine]).toEqual([length, true]);
    }
  });

  test("a log may be signed with the secret of before, with which its process began", async () => {
    const folder = tempFolder();
    const former = "the secret that the edge had before this one";
    const keys = keysOf("the secret that the edge has now, which is new", former);
    let signing = keysOf(former).signing;
    const changing = {
      accepted: keys.accepted,
      get signing() {
        return signing;
      },
    };
    const { log } = openAuditLog(folder, { keys: changing });
    log.write(auditEvent());
    await log.flush();
    const [newest] = keys.accepted;
    if (newest === undefined) throw new Error("no key");
    signing = newest;
    log.write(auditEvent());
    await log.close();
    expect((await verify(folder, [], { keys })).isFine).toBe(true);
    expect((await verify(folder, [], { keys: keysOf(former) })).isFine).toBe(false);
  });
});

describe("what is wrong is found and named", () => {
  test("one changed byte of a log is found and named", async () => {
    const { folder, name, lines, write } = await oneFile();
    write(lines().map((line, index) => (index === 4 ? line.replace("Visual", "Visuel") : line)));
    expect(await problemOf(folder)).toEqual({
      isFine: false,
      further: 0,
      file: name,
      line: 5,
      kind: "changed",
      text: "this line was changed (seq 5)",
    });
  });

  test("a line that says the same in other bytes is found and named", async () => {
    const { folder, lines, write } = await oneFile();
    write(lines().map((line, index) => (index === 4 ? line.replace('"kind"', ' "kind"') : line)));
    expect(await problemOf(folder)).toMatchObject({ line: 5, kind: "garbage", further: 0 });
  });

  test("a changed number of a line is found and named", async () => {
    const { folder, lines, write } = await oneFile();
    write(lines().map((line, index) => (index === 4 ? line.replace('"seq":5', '"seq":8') : line)));
    expect(await problemOf(folder)).toMatchObject({
      line: 5,
      kind: "changed",
      text: "this line was changed: its number should be 5",
      further: 0,
    });
  });

  test("one missing line of a log is found and named, and so are several", async () => {
    const { folder, lines, write } = await oneFile();
    const all = lines();
    write(all.filter((_, index) => index !== 4));
    expect(await problemOf(folder)).toMatchObject({
      line: 5,
      kind: "missing",
      text: "line seq 5 is missing",
      further: 0,
    });
    write(all.filter((_, index) => index < 1 || index > 5));
    expect(await problemOf(folder)).toMatchObject({
      line: 2,
      text: "lines seq 2 to 6 are missing",
      further: 0,
    });
  });

  test("a missing beginning of a log is found and named", async () => {
    const { folder, lines, write } = await oneFile();
    write(lines().slice(3));
    expect(await problemOf(folder)).toMatchObject({
      line: 1,
      kind: "missing",
      text: "lines seq 1 to 3 are missing",
    });
  });

  test("two lines that were exchanged are found and named, and so is one that is there twice", async () => {
    const { folder, lines, write } = await oneFile();
    const all = lines();
    const swapped = [...all];
    [swapped[4], swapped[5]] = [all[5] ?? "", all[4] ?? ""];
    write(swapped);
    expect(await problemOf(folder)).toMatchObject({ line: 5, kind: "missing", further: 1 });
    write([...all.slice(0, 5), all[4] ?? "", ...all.slice(5)]);
    expect(await problemOf(folder)).toMatchObject({ line: 6, kind: "moved", further: 0 });
  });

  test("a tail that was cut off is found by the checkpoint in the store", async () => {
    const { folder, lines, write, checkpoint } = await oneFile();
    write(lines().slice(0, 8));
    expect(await problemOf(folder)).toMatchObject({ isFine: true });
    expect(await problemOf(folder, [checkpoint])).toMatchObject({
      line: 8,
      kind: "cut",
      text: "the end is cut off: the file ends after seq 8, but its checkpoint in the store says that the chain went to seq 12 at least",
    });
  });

  test("a tail that was cut off is found by the next chain of the worker", async () => {
    const { folder, lines, write } = await oneFile();
    await writeAuditLog(folder, 1);
    write(lines().slice(0, -1));
    const { problem } = (await verify(folder)).chains[0] ?? {};
    expect(problem?.kind).toBe("cut");
    expect(problem?.text).toContain("but the start of the next chain (");
  });

  test("lines that were added, also at the end, and garbage are found and named", async () => {
    const { folder, lines, write, path } = await oneFile();
    const all = lines();
    write([...all.slice(0, 6), "", ...all.slice(6)]);
    expect(await problemOf(folder)).toMatchObject({ line: 7, kind: "garbage", further: 0 });
    write([...all, all[3] ?? ""]);
    expect(await problemOf(folder)).toMatchObject({ line: 13, kind: "moved" });
    writeFileSync(path, Buffer.concat([Buffer.from(`${all.join("\n")}\n`), Buffer.from([0xff])]));
    expect(await problemOf(folder)).toMatchObject({ line: 13, kind: "garbage" });
    write([...all.slice(0, 6), "x".repeat(3_000_000), ...all.slice(7)]);
    expect(await problemOf(folder)).toMatchObject({ line: 7, kind: "garbage", further: 0 });
  });

  test("a file of another edge is found and named", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 5, {
      keys: keysOf("a secret that another edge has, not this one"),
    });
    const result = await verify(folder);
    expect(result.chains).toMatchObject([
      { lines: 0, problem: { kind: "foreign", line: 1 }, furtherProblems: 0 },
    ]);
    expect(result.chains[0]?.problem?.text).toContain("it is of another edge, or CT_SECRET was");
  });

  test("a line of another chain of the same edge is found and named", async () => {
    const { folder, lines, write } = await oneFile();
    const other = tempFolder();
    await writeAuditLog(other, 5);
    const [foreign = ""] = Object.values(readAudit(other));
    write([...lines().slice(0, 4), foreign.split("\n")[4] ?? "", ...lines().slice(5)]);
    expect(await problemOf(folder)).toMatchObject({ line: 5, kind: "moved" });
  });

  test("a file that is none of an audit log, or empty, is found and named", async () => {
    const { folder, path } = await oneFile();
    writeFileSync(join(folder, "audit-worker-9-20300101T000000000Z-1.jsonl"), "\u0000\u0001 no\n");
    writeFileSync(join(folder, "audit-worker-9-20300101T000000000Z-2.jsonl"), "");
    const result = await verify(folder);
    expect(result.isFine).toBe(false);
    expect(result.strange.map((file) => basename(file))).toEqual([
      "audit-worker-9-20300101T000000000Z-1.jsonl",
    ]);
    expect(result.chains[0]).toMatchObject({ problem: undefined, files: [path] });
  });

  test("a whole file that was deleted is found and named: the first, one in the middle, the last", async () => {
    for (const which of [0, 2, -1]) {
      const folder = tempFolder();
      const checkpoint = await writeAuditLog(folder, 30, { maxFileBytes: 4000 });
      const files = await findFiles(folder);
      rmSync(files.at(which)?.path ?? "");
      const { chains, isFine } = await verify(folder, [checkpoint]);
      expect(isFine).toBe(false);
      expect(chains[0]?.problem?.kind).toBe(which === -1 ? "cut" : "missing");
      expect(chains[0]?.furtherProblems).toBe(0);
    }
  });

  test("a whole chain that was deleted is found by the next one or by its checkpoint", async () => {
    const { folder, path, checkpoint } = await oneFile();
    const next = await writeAuditLog(folder, 1);
    rmSync(path);
    const result = await verify(folder);
    expect(result.missing).toMatchObject([
      { chain: checkpoint.chain, seq: 12, isElsewhere: false },
    ]);
    rmSync((await findFiles(folder))[0]?.path ?? "");
    expect((await verify(folder, [next])).missing).toMatchObject([{ chain: next.chain }]);
  });

  test("verify says of a chain of a worker of another machine only that it is not here", async () => {
    const { folder, checkpoint } = await oneFile();
    const other = { ...checkpoint, chain: "another", worker: "worker-7" };
    const result = await verify(folder, [checkpoint, other], { hasAllWorkers: false });
    expect(result).toMatchObject({ isFine: true, missing: [{ isElsewhere: true }] });
    expect(formatVerification(result, false)).toContain("not here worker-7, chain another");
  });
});

describe("files", () => {
  test("files of a log may have been renamed, and one stands for its chain", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 30, { maxFileBytes: 4000 });
    const [first, second] = await findFiles(folder);
    const all = await withRestOfChains([second?.path ?? ""]);
    expect(all).toHaveLength((await findFiles(folder)).length);
    const renamed = join(folder, "copy");
    renameSync(first?.path ?? "", renamed);
    const options = { isFolder: false, hasAllWorkers: true, checkpoints: [], days: 90 };
    const given = [...all.filter((path) => path !== first?.path), renamed];
    const result = await verifyFiles(given, { ...options, keys: keysOf(), wallMs: Date.now() });
    expect(result.isFine).toBe(true);
  });
});

describe("what retention has removed", () => {
  test("what retention has removed is no problem when it was old enough, or a line says so; younger lines are missing", async () => {
    const folder = tempFolder();
    const clock = createStepClock(Date.now() - 100 * 86_400_000);
    const { log } = openAuditLog(folder, { clock, maxFileBytes: 2500 });
    const add = async () => {
      for (let n = 0; n < 12; n++) {
        log.write(auditEvent("Ada", { atMs: clock.wallMs() }));
        await log.flush();
      }
    };
    await add();
    clock.setWall(Date.now());
    await add();
    await log.close();
    const files = await findFiles(folder);
    expect(files.length).toBeGreaterThan(4);
    rmSync(files[0]?.path ?? "");
    expect(await verify(folder)).toMatchObject({ isFine: true, chains: [{ expired: 6 }] });
    expect((await verify(folder, [], { days: 0 })).chains[0]?.problem?.kind).toBe("missing");
    rmSync(files.at(-2)?.path ?? "");
    expect((await verify(folder)).chains[0]?.problem?.kind).toBe("missing");
  });
});
