/**
 * `ct-edge clients check`: over a folder of archives that are made to exhaust memory or time, and without plugins.
 */
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { type ClientsAnswer, checkText } from "../../edge/commands/machine/clients.ts";
import { runCommand } from "../support/command.ts";
import { bomb, overlapping, pluginJar, pluginXml, put, vsix, zip } from "../support/plugins.ts";
import { tempFolder } from "../support/temp-folder.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

/** Of JavaScript's values, in MiB; what an entity bomb would fill within a second. */
const HEAP_MB = 128;
const SIZE = 900_000;

test("archive bombs of every kind are reported with their reasons, within bounded memory and time", {
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

test("the check says where to get the plugins that are not offered, and nothing of this when both are", async () => {
  const check = async (): Promise<ClientsAnswer> => {
    const args = ["clients", "check", "--json", "--clients-dir", folder];
    return JSON.parse((await runCommand(args)).stdout) as ClientsAnswer;
  };
  const before = await check();
  expect(before.sources.map(({ ide }) => ide)).toEqual(["vscode", "intellij", "theia", "eclipse"]);
  const text = checkText(before);
  for (const part of [
    "extension typefox.open-collaboration-tools (Marketplace, Open VSX); belongs in vscode/*.vsix",
    "plugin 32650, for build 252.28539 (2025.2) and later (JetBrains Marketplace); belongs in",
    "Theia: built in (@theia/collaboration); set COLLABORATION_SERVER_URL",
    "Eclipse: no plugin yet",
  ]) {
    expect(text).toContain(part);
  }
  put(folder, "vscode/oct.vsix", await vsix({ name: "open-collaboration-tools" }));
  const id = "org.typefox.open-collaboration-intelliJ";
  put(folder, "intellij/oct.jar", await pluginJar({ id }));
  const after = await check();
  expect(after.sources).toEqual([]);
  expect(checkText(after)).toBe(`2 offered, 0 not, in ${folder}\n`);
});
