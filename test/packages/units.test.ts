/** The units of systemd and what the programs tell it, as far as it shows without systemd. */
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { SETTINGS } from "../../shared/settings/settings.ts";
import { startEdge } from "../support/edge-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const PACKAGE = join(import.meta.dirname, "../../deploy/package");
const UNITS = readdirSync(join(PACKAGE, "systemd")).filter((name) => name.endsWith(".service"));
const readUnit = (name: string): string => readFileSync(join(PACKAGE, "systemd", name), "utf8");

test("every variable of the units and of edge.env is a setting", () => {
  const known = new Set(Object.values(SETTINGS).flatMap(({ env }) => [env, `${env}_FILE`]));
  const text = readFileSync(join(PACKAGE, "edge.env"), "utf8") + UNITS.map(readUnit).join("");
  const used = text.match(/\bCT_[A-Z]+(?:_[A-Z]+)*/g) ?? [];
  expect(used.length).toBeGreaterThan(10);
  expect(used.filter((name) => name !== "CT_X" && !known.has(name))).toEqual([]);
});

test("all units restrict their programs in the same way", () => {
  const restrictions = UNITS.map((name) => {
    const [, rest = ""] = readUnit(name).split("# --- what it may do ---\n");
    return rest.split("\n").filter((line) => !line.startsWith("#"));
  });
  expect(UNITS).toHaveLength(3);
  expect(restrictions[0]).toContain("SystemCallFilter=@system-service");
  expect(restrictions[1]).toEqual(restrictions[0]);
  expect(restrictions[2]).toEqual(restrictions[0]);
});

test("an edge tells systemd when it is available and when it stops, and its processes tell nothing", async () => {
  const folder = toolsFolder();
  const told = join(folder, "told");
  writeFileSync(told, "");
  writeFileSync(join(folder, "systemd-notify"), `#!/bin/sh\necho "$*" >>'${told}'\n`);
  chmodSync(join(folder, "systemd-notify"), 0o755);
  const edge = await startEdge({
    env: { NOTIFY_SOCKET: join(folder, "socket"), PATH: `${folder}:${process.env["PATH"]}` },
  });
  const lines = (): string[] => readFileSync(told, "utf8").split("\n").slice(0, -1);
  const ready = `READY=1 STATUS=available on port ${edge.httpPort} (HTTP) and ${edge.tlsPort} (SSL)`;
  await until("it has told that it is ready", () => lines().length > 0);
  expect(lines()).toEqual([ready]);
  await edge.stop();
  await until("it has told that it stops", () => lines().length > 1);
  // 2.7 s of a stop without Redis, and the margin.
  expect(lines()).toEqual([ready, "STOPPING=1 STATUS=stopping EXTEND_TIMEOUT_USEC=17700000"]);
});

test("an edge that cannot tell systemd runs, and says what to do", async () => {
  const folder = toolsFolder();
  const edge = await startEdge({ env: { NOTIFY_SOCKET: join(folder, "socket"), PATH: folder } });
  await until("it says what to do", () => edge.output().includes("systemd is not notified: "));
  expect(edge.output()).toContain("install systemd-notify, or use Type=exec in the unit");
  expect(await edge.stop()).toMatchObject({ status: 0 });
});

function toolsFolder(): string {
  const folder = tempFolder();
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
