/** Erasing people from audit logs. */
import { appendFileSync, existsSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { erase, FileInUseError, findPeople, isOneOf } from "../../../edge/audit/erase.ts";
import {
  commandWorker,
  NotRecordedError,
  openErasureRecord,
} from "../../../edge/audit/erasure-record.ts";
import type { Checkpoint } from "../../../shared/audit/checkpoint.ts";
import { copyPath, findFiles, releasePath } from "../../../shared/audit/files.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import {
  auditEvent,
  auditLines,
  firstFile,
  isAuditFine,
  keysOf,
  openAuditLog,
  readAudit,
  verifyAudit,
  writeAuditLog,
} from "../../support/audit.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

async function eraseFrom(folder: string, user: string, isDryRun = false): Promise<number> {
  const people = await findPeople(folder, user);
  let lines = 0;
  await erase({
    folder,
    isWanted: isOneOf(new Set(people.flatMap(({ id }) => id ?? [])), user),
    key: keysOf().signing,
    clock: systemClock,
    isDryRun,
    onFile: (file) => {
      lines += file.lines;
    },
  });
  return lines;
}

/** Everything in the folder. */
function allText(folder: string): string {
  return Object.values(readAudit(folder)).join("");
}

describe("a person is erased", () => {
  test("a person is erased by id, address or name, from all files; others and the chain stay", async () => {
    for (const user of ["id-of-Ada", "ADA@example.com", "Ada"]) {
      const folder = tempFolder();
      await writeAuditLog(folder, 20, { maxFileBytes: 4000 });
      await writeAuditLog(folder, 4, { worker: "worker-2" });
      const before = auditLines(folder);
      expect(await eraseFrom(folder, user)).toBe(12);
      const text = allText(folder);
      for (const gone of ['"Ada"', "ada@", "id-of-Ada"]) expect(text).not.toContain(gone);
      expect(text.split("Grace").length).toBeGreaterThan(12);
      expect(auditLines(folder).map(({ mac }) => mac)).toEqual(before.map(({ mac }) => mac));
      expect(await isAuditFine(folder)).toBe(true);
    }
  });

  test("an erased person leaves a commitment, without its salt, and a proof that the edge has erased it", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 1);
    await eraseFrom(folder, "Ada");
    const { actor } = auditLines(folder)[1] as { actor: Record<string, unknown> };
    expect(Object.keys(actor)).toEqual(["type", "way", "erased", "commitment", "proof"]);
    const [[path, text] = ["", ""]] = Object.entries(readAudit(folder));
    expect(actor["erased"]).toBe(true);
    // Somebody without the key does the same to others.
    const forged = text.replace(/"proof":"...../, '"proof":"AAAAA');
    writeFileSync(`${folder}/${path}`, forged);
    expect(await isAuditFine(folder)).toBe(false);
  });

  test("a person is erased as target too, and without an id", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent("Grace", { target: { type: "user", name: "Ada", address: "192.0.2.9" } }));
    log.write(auditEvent("Ada", { kind: "sign-in.refused" }));
    await log.close();
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(allText(folder)).not.toContain('"Ada"');
    expect(allText(folder)).not.toContain("192.0.2.9");
    expect(allText(folder)).toContain("Grace");
  });

  test("a person is erased only on paper in a dry run", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 4);
    const before = allText(folder);
    expect(await eraseFrom(folder, "Ada", true)).toBe(2);
    expect(allText(folder)).toBe(before);
  });

  test("a person is erased with a name that JSON writes in another way", async () => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent('Ad"a\n'));
    await log.close();
    expect(await eraseFrom(folder, 'Ad"a\n')).toBe(1);
    expect(await isAuditFine(folder)).toBe(true);
  });

  test("a person is erased from a log with garbage, which stays as it is", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 4);
    const path = await firstFile(folder);
    appendFileSync(path, "garbage\n");
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(allText(folder)).toMatch(/garbage\n$/);
    expect(allText(folder)).not.toContain('"Ada"');
  });
});

describe("a file in use", () => {
  test.each([
    ["is released by its worker, which continues in another file, and no line is lost", undefined],
    ["is not waited for when its worker finishes it meanwhile", 20_000],
  ])("a file in use %s", async (_title, maxFileBytes) => {
    const folder = tempFolder();
    const { log } = openAuditLog(folder, { maxFileBytes });
    let written = 0;
    const writing = setInterval(() => {
      log.write(auditEvent(written++ % 2 === 0 ? "Ada" : "Grace"));
    }, 2);
    await until("there are lines", async () => {
      await log.flush();
      return auditLines(folder).length > 20;
    });
    await eraseFrom(folder, "Ada");
    clearInterval(writing);
    await log.close();
    const files = await findFiles(folder);
    expect(files.length).toBeGreaterThanOrEqual(2);
    expect(existsSync(releasePath(files[0]?.path ?? ""))).toBe(false);
    expect(auditLines(folder).filter(({ kind }) => kind === "join.asked")).toHaveLength(written);
    expect(await isAuditFine(folder)).toBe(true);
    expect(readAudit(folder)[Object.keys(readAudit(folder))[0] ?? ""]).not.toContain('"Ada"');
  });

  test("a file in use of a worker that was killed is rewritten a minute later, and not before", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 4);
    const path = await firstFile(folder);
    const text = Object.values(readAudit(folder))[0] ?? "";
    writeFileSync(path, text.split("\n").slice(0, -2).join("\n").concat("\n"));
    await expect(eraseFrom(folder, "Ada")).rejects.toThrow(FileInUseError);
    expect(existsSync(releasePath(path))).toBe(false);
    const old = Date.now() / 1000 - 61;
    utimesSync(path, old, old);
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(await isAuditFine(folder)).toBe(true);
  }, 30_000);
});

test("an interrupted erasure leaves the files as they were, and the next one removes its copy", async () => {
  const folder = tempFolder();
  await writeAuditLog(folder, 4);
  const path = await firstFile(folder);
  const copy = copyPath(path);
  writeFileSync(copy, "half of the lines, with people\n");
  expect(await isAuditFine(folder)).toBe(true);
  const { mode } = statSync(path);
  await eraseFrom(folder, "Ada");
  expect(existsSync(copy)).toBe(false);
  expect(statSync(path).mode).toBe(mode);
});

describe("an erasure is recorded", () => {
  async function recordErasure(folder: string): Promise<Checkpoint> {
    const by = { name: "root@build-7", way: "ct-edge" };
    const record = await openErasureRecord({ folder, keys: keysOf(), by, clock: systemClock });
    const lines = await eraseFrom(folder, "Ada");
    return record.finish({ people: 1, lines, files: 1, isComplete: true });
  }

  test("an erasure is recorded in a chain of its own: who did it and how much, but not whose data", async () => {
    const folder = tempFolder();
    await writeAuditLog(folder, 4);
    const { worker, seq } = await recordErasure(folder);
    expect(worker).toBe(commandWorker(folder));
    const own = auditLines(folder).filter((line) => line["worker"] === worker);
    expect(own.map(({ kind }) => kind)).toEqual(["audit.started", "audit.erased", "audit.ended"]);
    expect(seq).toBe(3);
    expect(own[1]).toMatchObject({
      actor: { type: "operator", way: "ct-edge", person: { name: "root@build-7" } },
      details: { people: 1, lines: 2, files: 1, complete: true },
    });
    expect(allText(folder)).not.toContain("Ada");
    expect(await isAuditFine(folder)).toBe(true);
    const path = await firstFile(folder);
    expect(basename(path)).toMatch(/^audit-ct-edge-[0-9a-f]{8}-.*-1\.jsonl$/);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  test("an erasure is recorded so that it is missed where it was written, and in no other folder", async () => {
    const folder = tempFolder();
    const checkpoint = await writeAuditLog(folder, 4);
    const first = await recordErasure(folder);
    const second = await recordErasure(folder);
    const starts = auditLines(folder).filter(({ kind }) => kind === "audit.started");
    expect(starts[1]).toMatchObject({ previous: { chain: first.chain, seq: 3 } });
    async function missingIn(place: string): Promise<unknown> {
      const { missing } = await verifyAudit(place, {
        checkpoints: [checkpoint, first, second],
        commandWorker: commandWorker(place),
      });
      return missing.map(({ chain, isElsewhere }) => [chain, isElsewhere]);
    }
    expect(await missingIn(folder)).toEqual([]);
    for (const { path, worker } of await findFiles(folder)) {
      if (worker !== "worker-1") rmSync(path);
    }
    expect(await missingIn(folder)).toEqual([
      [first.chain, false],
      [second.chain, false],
    ]);
    expect(await missingIn(tempFolder())).toEqual([
      [checkpoint.chain, false],
      [first.chain, true],
      [second.chain, true],
    ]);
  });

  test("an erasure that cannot be recorded erases nothing", async () => {
    const folder = tempFolder();
    writeFileSync(`${folder}/file`, "");
    const by = { name: "root@build-7", way: "ct-edge" };
    const opened = openErasureRecord({
      ...{ folder: `${folder}/file`, keys: keysOf(), by, clock: systemClock },
    });
    await expect(opened).rejects.toThrow(NotRecordedError);
  });
});
