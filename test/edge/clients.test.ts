/** `ct-edge clients check` over a folder of archives that are made to take all memory, or for ever. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import type { ClientsAnswer } from "../../edge/commands/machine/clients.ts";
import { runCommand } from "../support/command.ts";
import { bomb, overlapping, pluginXml, put, zip } from "../support/plugins.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ct-clients-"));
  return () => rmSync(folder, { recursive: true, force: true });
});

/** Of JavaScript's values, in MiB; what an entity bomb would fill within a second. */
const HEAP_MB = 128;
const SIZE = 900_000;

test("bombs of every kind are named with their reasons, in little memory and little time", {
  timeout: 120_000,
}, async () => {
  const jar = (more: string, doctype = "") =>
    zip({ "META-INF/plugin.xml": `${doctype}${pluginXml({ more })}` });
  const levels = Array.from(
    { length: 12 },
    (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`,
  );
  const bombs: Record<string, Buffer> = {
    "laughs.jar": await jar("&e12;", `<!DOCTYPE a [<!ENTITY e0 "ha">${levels.join("")}]>`),
    "quadratic.jar": await jar(
      "&e;".repeat(SIZE / 3),
      `<!DOCTYPE a [<!ENTITY e "${"x".repeat(9000)}">]>`,
    ),
    "deep.jar": await jar("<b>".repeat(SIZE / 3)),
    "file.jar": await jar("&e;", '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///dev/zero">]>'),
    "zeros.zip": await bomb(300 * 1024 * 1024, "x/lib/x.jar"),
    "names.zip": overlapping(
      150,
      (i) => `x/lib/${i}.jar`,
      overlapping(20_000, (i) => `a/${i}`, Buffer.alloc(0)),
    ),
    "long-names.jar": overlapping(1500, (i) => `${i}/${"n".repeat(60_000)}.xml`, Buffer.alloc(0)),
  };
  const check = async (name: string): Promise<{ answer: ClientsAnswer; ms: number }> => {
    const args = ["clients", "check", "--json", "--clients-dir", join(folder, name)];
    const startMs = performance.now();
    const { stdout, stderr } = await runCommand(args, {
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
    });
    expect(stderr).toBe("");
    return { answer: JSON.parse(stdout) as ClientsAnswer, ms: performance.now() - startMs };
  };
  for (const name of Object.keys(bombs)) {
    // As much text, and as many entries, of which nothing becomes more.
    put(
      folder,
      `good/intellij/${name.replace(/zip$/, "jar")}`,
      await zip({
        "META-INF/plugin.xml": pluginXml({ version: name, more: "<b>text</b>".repeat(SIZE / 11) }),
      }),
    );
    put(folder, `bad/intellij/${name}`, bombs[name] ?? "");
  }
  const good = await check("good");
  expect(good.answer.offered).toHaveLength(Object.keys(bombs).length);
  const bad = await check("bad");
  expect(Object.fromEntries(bad.answer.skipped.map(({ file, reason }) => [file, reason]))).toEqual({
    "intellij/laughs.jar": expect.stringMatching(/entity bomb/),
    "intellij/quadratic.jar": expect.stringMatching(/entity bomb/),
    "intellij/deep.jar": expect.stringMatching(/not well-formed XML \(.{1,210}\)$/s),
    "intellij/file.jar": expect.stringMatching(/external entity e/),
    "intellij/zeros.zip": expect.stringMatching(/zip bomb/),
    "intellij/names.zip": expect.stringMatching(/entries, which are too many/),
    "intellij/long-names.jar": expect.stringMatching(/list of entries is too large/),
  });
  expect(bad.ms).toBeLessThan(good.ms * 4);
});
