/** The files of the audit log: chains, rotation, disks that fail, and what is counted then. */

import {
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findFiles } from "../../../shared/audit/files.ts";
import {
  auditEvent,
  auditLines,
  firstFile,
  isAuditFine,
  openAuditLog,
  readAudit,
  verifyAudit,
  writeAuditLog,
} from "../../support/audit.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

const kindsOf = (folder: string) => auditLines(folder).map(({ kind }) => kind);

type Write = (
  bytes: Buffer,
  from: number,
  length: number,
  position: null,
) => Promise<{ bytesWritten: number; buffer: Buffer }>;

/** A disk on which writes fail while `isFull`; a part of the bytes is written. */
function fullDisk() {
  const disk = { isFull: false, code: "ENOSPC", canTruncate: true };
  async function openFile(path: string, flags: string, mode: number): Promise<FileHandle> {
    if (disk.isFull && disk.code !== "ENOSPC") throw failure(disk.code);
    const file = await open(path, flags, mode);
    const write = file.write.bind(file) as Write;
    const truncate = file.truncate.bind(file);
    const failing = {
      async write(...[bytes, from, length, position]: Parameters<Write>) {
        const part = disk.isFull ? Math.floor(length / 2) : length;
        const result = await write(bytes, from, part, position);
        if (!disk.isFull) return result;
        throw failure(disk.code);
      },
      async truncate(size: number) {
        if (!disk.canTruncate) throw failure("EIO");
        return truncate(size);
      },
    };
    return Object.assign(file, failing);
  }
  return { disk, openFile };
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: the disk fails`), { code });
}

describe("a chain", () => {
  test("a chain of the audit log begins with a line that names the chain before it, and ends with one", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 2);
    const lines = auditLines(folder);
    expect(kindsOf(folder)).toEqual(["audit.started", "join.asked", "join.asked", "audit.ended"]);
    expect(lines.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(lines[0]).not.toHaveProperty("previous");
    await writeAuditLog(folder, 0, { worker: "worker-2" });
    await writeAuditLog(folder, 0);
    const { chain, seq, mac, at } = lines[3] ?? {};
    const starts = auditLines(folder).filter(({ kind }) => kind === "audit.started");
    expect(starts.map(({ worker, previous }) => [worker, previous])).toEqual([
      ["worker-1", undefined],
      ["worker-1", { chain, seq, mac, at }],
      ["worker-2", undefined],
    ]);
  });

  test("a chain of the audit log has people's data apart from the rest, with a salt of its own in each line", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent("Ada", { target: { type: "rule", name: "no guests" } }));
    log.write(auditEvent("Ada"));
    await log.close();
    const [, first, second] = auditLines(folder) as { actor: { salt: string }; target?: object }[];
    expect(first).toMatchObject({
      worker: "worker-1",
      session: "aB3xY9aB-0123456789abcdef",
      actor: {
        type: "user",
        way: "Company account",
        person: {
          id: "id-of-Ada",
          name: "Ada",
          email: "ada@example.com",
          address: "192.0.2.7",
          client: "Visual Studio Code@1.99",
        },
      },
      target: { type: "rule", name: "no guests" },
      details: { rule: "everyone", guests: 3 },
    });
    expect(first?.actor.salt).not.toBe(second?.actor.salt);
  });

  test("a chain of the audit log has no line of any size, and none that breaks it", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent("x".repeat(1_000_000)));
    log.write(auditEvent('\ud800\u2028\n\u0000"\\'));
    log.write(auditEvent("Ada", { details: { ["__proto__"]: 1, wait: Number.NaN, 7: true } }));
    await log.close();
    expect(auditLines(folder)).toHaveLength(5);
    expect(JSON.stringify(auditLines(folder)[1]).length).toBeLessThan(4000);
    expect(await isAuditFine(folder)).toBe(true);
  });
});

describe("files", () => {
  test("files of the audit log are private to their owner and group, and hold lines that wait for others", async () => {
    const folder = join(tempFolder(), "a", "b");
    const { log } = openAuditLog(folder);
    for (let n = 0; n < 450; n++) log.write(auditEvent());
    await log.close();
    const path = await firstFile(folder);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(statSync(folder).mode & 0o777).toBe(0o750);
    expect(auditLines(folder)).toHaveLength(452);
  });

  test("files of the audit log are finished by size and by day, and the next one names the last line", async () => {
    const folder = tempFolder();
    const clock = createStepClock(new Date(2030, 0, 1, 23, 59).getTime());
    const { log } = openAuditLog(folder, { clock, maxFileBytes: 3000 });
    for (let n = 0; n < 6; n++) {
      log.write(auditEvent("Ada", { atMs: clock.wallMs() }));
      await log.flush();
    }
    const bySize = (await findFiles(folder)).length;
    expect(bySize).toBe(2);
    clock.setWall(new Date(2030, 0, 2, 0, 1).getTime());
    await log.flush();
    expect(await findFiles(folder)).toHaveLength(bySize);
    log.write(auditEvent());
    await log.close();
    expect(await findFiles(folder)).toHaveLength(3);
    const lines = auditLines(folder);
    for (const [index, { kind, previous }] of lines.entries()) {
      if (kind !== "audit.continued") continue;
      const { chain, seq, mac, at } = lines[index - 1] ?? {};
      expect(previous).toEqual({ chain, seq, mac, at });
    }
    expect(await isAuditFine(folder)).toBe(true);
  });

  test("files of the audit log older than their days are deleted, of all workers, and a line says which", async () => {
    const folder = tempFolder();
    const day = 86_400_000;
    const clock = createStepClock(Date.now() - 40 * day);
    const gone = await writeAuditLog(folder, 3, { clock, worker: "worker-9" });
    const { log } = openAuditLog(folder, { clock, days: 30 });
    await log.flush();
    clock.setWall(Date.now() - 20 * day);
    await writeAuditLog(folder, 3, { clock, worker: "worker-8" });
    log.write(auditEvent());
    await log.flush();
    clock.setWall(Date.now());
    clock.advance(1000);
    await until("the old ones are gone", async () =>
      auditLines(folder).some(({ kind }) => kind === "audit.removed"),
    );
    await log.close();
    const removed = auditLines(folder).filter(({ kind }) => kind === "audit.removed");
    expect(removed.map(({ details }) => details)).toMatchObject([
      {},
      { chain: gone.chain, seq: 5 },
    ]);
    const files = (await findFiles(folder)).map(({ worker }) => worker);
    expect(files).toEqual(["worker-1", "worker-1", "worker-8"]);
    expect((await verifyAudit(folder, { days: 0, checkpoints: [gone] })).isFine).toBe(true);
  });

  test("files of the audit log that somebody has made to look old are no excuse for others that are missing", async () => {
    const folder = tempFolder();
    const checkpoint = await writeAuditLog(folder, 5, { worker: "worker-2" });
    const path = await firstFile(folder);
    const text = readFileSync(path, "utf8");
    // With the chain of the other file, its last line as it would be long ago; the other file is deleted.
    const old = text.replaceAll(/"at":"\d{4}/g, '"at":"2001');
    writeFileSync(join(folder, "audit-worker-2-20010101T000000000Z-1.jsonl"), old);
    rmSync(path);
    utimesSync(join(folder, "audit-worker-2-20010101T000000000Z-1.jsonl"), 1e9, 1e9);
    const clock = createStepClock(Date.now());
    const { log } = openAuditLog(folder, { clock });
    await log.flush();
    clock.advance(1000);
    await log.flush();
    const [removed] = auditLines(folder).filter(({ kind }) => kind === "audit.removed");
    expect(removed?.["details"]).toEqual({ file: "audit-worker-2-20010101T000000000Z-1.jsonl" });
    await log.close();
    const result = await verifyAudit(folder, { checkpoints: [checkpoint] });
    expect(result).toMatchObject({ isFine: false, missing: [{ chain: checkpoint.chain }] });
  });

  test("files of the audit log that somebody has made to look old are no excuse when the next chain names them", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 5);
    const path = await firstFile(folder);
    const lines = readFileSync(path, "utf8").split("\n");
    lines[6] = lines[6]?.replace(/"at":"\d{4}/, '"at":"2001') ?? "";
    writeFileSync(path, lines.join("\n"));
    await writeAuditLog(folder, 0);
    rmSync(path);
    expect(auditLines(folder)[0]).toMatchObject({ previous: { seq: 6 } });
    expect(await isAuditFine(folder)).toBe(false);
  });

  test("files of the audit log that somebody deletes while they are written are followed by another, and their lines are missing", async () => {
    const folder = tempFolder();
    const clock = createStepClock(Date.now());
    const { log, lines } = openAuditLog(folder, { clock });
    log.write(auditEvent());
    await log.flush();
    rmSync((await findFiles(folder))[0]?.path ?? "");
    clock.advance(1000);
    await log.flush();
    log.write(auditEvent());
    await log.close();
    expect(kindsOf(folder)).toEqual(["audit.continued", "join.asked", "audit.ended"]);
    expect(lines.join("")).toContain("was deleted, moved or replaced while it was written");
    expect(await isAuditFine(folder)).toBe(false);
  });
});

describe("a disk that takes nothing", () => {
  for (const code of ["ENOSPC", "EROFS", "EIO"]) {
    test(`a disk that takes nothing (${code}) makes events wait, and all are written when it takes them again`, async () => {
      const folder = tempFolder();
      const { disk, openFile } = fullDisk();
      const clock = createStepClock(Date.now());
      const { log } = openAuditLog(folder, { clock, openFile });
      log.write(auditEvent());
      await log.flush();
      Object.assign(disk, { isFull: true, code });
      for (let n = 0; n < 300; n++) log.write(auditEvent());
      await log.flush();
      expect(log.problem).toContain(code);
      // Nothing of the failed write is left.
      expect(auditLines(folder)).toHaveLength(2);
      disk.isFull = false;
      await log.flush();
      expect(log.problem).toBeUndefined();
      await log.close();
      expect(auditLines(folder)).toHaveLength(303);
      expect(kindsOf(folder)).not.toContain("audit.gap");
      expect(await isAuditFine(folder)).toBe(true);
    });
  }

  test("what does not fit into memory while a disk takes nothing is counted, and a line says how many are missing, and of when", async () => {
    const folder = tempFolder();
    const { disk, openFile } = fullDisk();
    const clock = createStepClock(Date.UTC(2030, 0, 1));
    const { log, counters } = openAuditLog(folder, { clock, openFile });
    await log.flush();
    disk.isFull = true;
    for (let n = 0; n < 10_500; n++) {
      clock.setWall(Date.UTC(2030, 0, 1) + n);
      log.write(auditEvent("Ada", { atMs: clock.wallMs() }));
    }
    await log.flush();
    expect(log.dropped).toBe(500);
    expect(counters.value("worker.audit.dropped")).toBe(500);
    disk.isFull = false;
    await log.flush();
    log.write(auditEvent());
    await log.close();
    const lines = auditLines(folder);
    expect(lines).toHaveLength(10_004);
    expect(lines.find(({ kind }) => kind === "audit.gap")?.["details"]).toEqual({
      events: 500,
      from: "2030-01-01T00:00:10.000Z",
      to: "2030-01-01T00:00:10.499Z",
    });
    expect(await isAuditFine(folder)).toBe(true);
  });

  test("a disk that takes nothing does not let the rest of a failed write be cut off: that happens before the next write", async () => {
    const folder = tempFolder();
    const { disk, openFile } = fullDisk();
    const { log } = openAuditLog(folder, { clock: createStepClock(Date.now()), openFile });
    await log.flush();
    Object.assign(disk, { isFull: true, canTruncate: false });
    for (let n = 0; n < 3; n++) log.write(auditEvent());
    await log.flush();
    disk.isFull = false;
    await log.flush();
    expect(log.problem).toContain("EIO");
    disk.canTruncate = true;
    await log.close();
    expect(kindsOf(folder)).toHaveLength(5);
    expect(await isAuditFine(folder)).toBe(true);
  });

  test("an audit log whose folder is gone makes a new one", async () => {
    const folder = tempFolder();
    const clock = createStepClock(Date.now());
    const { log } = openAuditLog(folder, { clock });
    log.write(auditEvent());
    await log.flush();
    renameSync(folder, `${folder}-moved`);
    clock.advance(1000);
    await log.flush();
    log.write(auditEvent());
    await log.close();
    expect(kindsOf(folder)).toEqual(["audit.continued", "join.asked", "audit.ended"]);
    rmSync(`${folder}-moved`, { recursive: true });
  });

  test("an audit log whose folder is a file says so, and begins when that is gone", async () => {
    const folder = join(tempFolder(), "place");
    writeFileSync(folder, "");
    const { log } = openAuditLog(folder, { clock: createStepClock(Date.now()) });
    await log.flush();
    expect(log.problem).toBe(`${folder} is not a folder`);
    rmSync(folder);
    await log.close();
    expect(kindsOf(folder)).toEqual(["audit.started", "audit.ended"]);
  });

  test("an audit log that must not write in its folder begins when it may", async () => {
    const folder = tempFolder();
    // Root may write everywhere, so the folder's own rights would not do.
    let isForbidden = true;
    const openFile = async (path: string, flags: string, mode: number): Promise<FileHandle> => {
      if (isForbidden)
        throw Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
      return open(path, flags, mode);
    };
    const { log } = openAuditLog(folder, { clock: createStepClock(Date.now()), openFile });
    await log.flush();
    expect(log.problem).toContain("EACCES");
    isForbidden = false;
    await log.close();
    expect(kindsOf(folder)).toEqual(["audit.started", "audit.ended"]);
  });
});

describe("checkpoints", () => {
  test("checkpoints are of what is on the disk, at most every ten seconds, and at the end", async () => {
    const folder = tempFolder();
    const clock = createStepClock(Date.now());
    const { log, checkpoints } = openAuditLog(folder, { clock });
    for (let second = 1; second <= 30; second++) {
      log.write(auditEvent());
      clock.advance(1000);
      await log.flush();
    }
    // The last event of these seconds may be behind the checkpoint.
    expect(checkpoints.length).toBe(3);
    await log.close();
    expect(checkpoints.at(-1)?.seq).toBe(32);
    expect(existsSync(folder)).toBe(true);
  });

  test("checkpoints that the store does not take are repeated", async () => {
    const clock = createStepClock(Date.now());
    let tries = 0;
    const { log } = openAuditLog(tempFolder(), {
      clock,
      onCheckpoint: async () => ++tries > 1,
    });
    for (let round = 0; round < 3; round++) {
      for (let second = 0; second < 10; second++) {
        clock.advance(1000);
        await log.flush();
      }
    }
    expect(tries).toBe(2);
    expect(log.problem).toBeUndefined();
  });
});

test("a chain whose process was killed in the middle of a line is named by its last whole line", async () => {
  const folder = tempFolder();
  await writeAuditLog(folder, 3);
  const path = await firstFile(folder);
  const handle = await open(path, "r+");
  await handle.truncate(statSync(path).size - 10);
  await handle.close();
  await writeAuditLog(folder, 0);
  const [, second] = Object.values(readAudit(folder));
  expect(JSON.parse(second?.split("\n")[0] ?? "")).toMatchObject({ previous: { seq: 4 } });
  expect(await isAuditFine(folder)).toBe(true);
});
