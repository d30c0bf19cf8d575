/** Erasing people from audit logs. */
import { appendFileSync, existsSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { erase, FileInUseError, findPeople, isOneOf } from "../../../edge/audit/erase.ts";
import { verifyFiles } from "../../../edge/audit/verify.ts";
import { copyPath, findFiles, releasePath } from "../../../shared/audit/files.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import {
  auditEvent,
  auditFolder,
  auditLines,
  keysOf,
  openAuditLog,
  readAudit,
  writeAuditLog,
} from "../../support/audit.ts";
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

async function isFine(folder: string): Promise<boolean> {
  const paths = (await findFiles(folder)).map(({ path }) => path);
  const options = { isFolder: true, hasAllWorkers: true, checkpoints: [], days: 90 };
  return (await verifyFiles(paths, { ...options, keys: keysOf(), wallMs: Date.now() })).isFine;
}

/** Everything in the folder. */
function allText(folder: string): string {
  return Object.values(readAudit(folder)).join("");
}

describe("a person is erased", () => {
  test("by id, address or name, from all files; others and the chain stay", async () => {
    for (const user of ["id-of-Ada", "ADA@example.com", "Ada"]) {
      const folder = auditFolder();
      await writeAuditLog(folder, 20, { maxFileBytes: 4000 });
      await writeAuditLog(folder, 4, { worker: "worker-2" });
      const before = auditLines(folder);
      expect(await eraseFrom(folder, user)).toBe(12);
      const text = allText(folder);
      for (const gone of ['"Ada"', "ada@", "id-of-Ada"]) expect(text).not.toContain(gone);
      expect(text.split("Grace").length).toBeGreaterThan(12);
      expect(auditLines(folder).map(({ mac }) => mac)).toEqual(before.map(({ mac }) => mac));
      expect(await isFine(folder)).toBe(true);
    }
  });

  test("leaves a commitment, without its salt, and a proof that the edge has erased it", async () => {
    const folder = auditFolder();
    await writeAuditLog(folder, 1);
    await eraseFrom(folder, "Ada");
    const { actor } = auditLines(folder)[1] as { actor: Record<string, unknown> };
    expect(Object.keys(actor)).toEqual(["type", "way", "erased", "commitment", "proof"]);
    const [[path, text] = ["", ""]] = Object.entries(readAudit(folder));
    expect(actor["erased"]).toBe(true);
    // Somebody without the key does the same to others.
    const forged = text.replace(/"proof":"...../, '"proof":"AAAAA');
    writeFileSync(`${folder}/${path}`, forged);
    expect(await isFine(folder)).toBe(false);
  });

  test("as target too, and without an id", async () => {
    const folder = auditFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent("Grace", { target: { type: "user", name: "Ada", address: "192.0.2.9" } }));
    log.write(auditEvent("Ada", { kind: "sign-in.refused" }));
    await log.close();
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(allText(folder)).not.toContain('"Ada"');
    expect(allText(folder)).not.toContain("192.0.2.9");
    expect(allText(folder)).toContain("Grace");
  });

  test("only on paper in a dry run", async () => {
    const folder = auditFolder();
    await writeAuditLog(folder, 4);
    const before = allText(folder);
    expect(await eraseFrom(folder, "Ada", true)).toBe(2);
    expect(allText(folder)).toBe(before);
  });

  test("with a name that JSON writes in another way", async () => {
    const folder = auditFolder();
    const { log } = openAuditLog(folder);
    log.write(auditEvent('Ad"a\n'));
    await log.close();
    expect(await eraseFrom(folder, 'Ad"a\n')).toBe(1);
    expect(await isFine(folder)).toBe(true);
  });

  test("from a log with garbage, which stays as it is", async () => {
    const folder = auditFolder();
    await writeAuditLog(folder, 4);
    const [file] = await findFiles(folder);
    appendFileSync(file?.path ?? "", "garbage\n");
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(allText(folder)).toMatch(/garbage\n$/);
    expect(allText(folder)).not.toContain('"Ada"');
  });
});

describe("a file in use", () => {
  test.each([
    ["is released by its worker, which continues in another file, and no line is lost", undefined],
    ["is not waited for when its worker finishes it meanwhile", 20_000],
  ])("%s", async (_title, maxFileBytes) => {
    const folder = auditFolder();
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
    expect(await isFine(folder)).toBe(true);
    expect(readAudit(folder)[Object.keys(readAudit(folder))[0] ?? ""]).not.toContain('"Ada"');
  });

  test("of a worker that was killed is rewritten a minute later, and not before", async () => {
    const folder = auditFolder();
    await writeAuditLog(folder, 4);
    const [file] = await findFiles(folder);
    const path = file?.path ?? "";
    const text = Object.values(readAudit(folder))[0] ?? "";
    writeFileSync(path, text.split("\n").slice(0, -2).join("\n").concat("\n"));
    await expect(eraseFrom(folder, "Ada")).rejects.toThrow(FileInUseError);
    expect(existsSync(releasePath(path))).toBe(false);
    const old = Date.now() / 1000 - 61;
    utimesSync(path, old, old);
    expect(await eraseFrom(folder, "Ada")).toBe(2);
    expect(await isFine(folder)).toBe(true);
  }, 30_000);
});

test("an interrupted erasure leaves the files as they were, and the next one removes its copy", async () => {
  const folder = auditFolder();
  await writeAuditLog(folder, 4);
  const [file] = await findFiles(folder);
  const copy = copyPath(file?.path ?? "");
  writeFileSync(copy, "half of the lines, with people\n");
  expect(await isFine(folder)).toBe(true);
  const { mode } = statSync(file?.path ?? "");
  await eraseFrom(folder, "Ada");
  expect(existsSync(copy)).toBe(false);
  expect(statSync(file?.path ?? "").mode).toBe(mode);
});
