/** Rotation of a log while another program, such as logrotate, renames its files too. */
import { closeSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { startNewFile } from "../../../shared/logs/rotation.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const LIMITS = { maxBytes: 100, maxFiles: 5 };

test("a file that another program renames at any moment of a rotation is not lost, and a new one is opened", async () => {
  const folder = tempFolder();
  const path = join(folder, "server.log");
  let renamedByOther = 0;
  for (let turn = 0; turn < 200; turn++) {
    writeFileSync(path, `${turn}\n`);
    const { ino } = statSync(path);
    const rotation = startNewFile(path, ino, LIMITS);
    for (let wait = turn % 20; wait > 0; wait--) await setImmediate();
    try {
      renameSync(path, `${path}.moved`);
      renamedByOther++;
    } catch {
      // It was renamed to .1 already.
    }
    closeSync(await rotation);
    const places = [`${path}.moved`, `${path}.1`].map((name) => {
      try {
        return readFileSync(name, "utf8");
      } catch {
        return "";
      }
    });
    expect(places).toContain(`${turn}\n`);
  }
  expect(renamedByOther).toBeGreaterThan(10);
});
