/** Which files of a folder are offered, which are not and why, and how changes are detected. */

import { createHash } from "node:crypto";
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import { type Catalog, createCatalog } from "../../../worker/clients/catalog.ts";
import { reasonOf } from "../../../worker/clients/formats/folder.ts";
import { createScanner, type Offer } from "../../../worker/clients/formats/scan.ts";
import { collectingLog } from "../../support/logs.ts";
import {
  bomb,
  encrypted,
  pluginJar,
  pluginXml,
  pluginZip,
  put,
  putRepository,
  vsix,
  zip,
} from "../../support/plugins.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

let folder: string;
let opened: Catalog[];
beforeEach(() => {
  folder = tempFolder();
  opened = [];
  return async () => {
    await Promise.all(opened.map((catalog) => catalog.close()));
  };
});

/** One scan, long after all files were written. */
async function scan(at = folder): Promise<Offer> {
  const clock = { wallMs: () => Date.now() + 60_000, nowMs: () => 0 };
  const { offer } = await createScanner({ folder: at, clock }).scan();
  return offer;
}

/** Why a file is not offered. */
async function reason(file: string): Promise<string | undefined> {
  const { problems } = await scan();
  return problems.find((problem) => problem.file === file)?.reason;
}

describe("reading plugins", () => {
  test("the facts of a VS Code extension come from its manifest, whatever the file name", async () => {
    const icon = Buffer.from("png");
    const options = { version: "1.10.0", targetPlatform: "linux-x64", preRelease: true, icon };
    put(folder, "vscode/other-9.9.9.vsix", await vsix(options));
    const { vscode, problems } = await scan();
    expect(problems).toEqual([]);
    expect(vscode).toMatchObject([
      {
        publisher: "acme",
        name: "collab",
        version: "1.10.0",
        targetPlatform: "linux-x64",
        preRelease: true,
        displayName: "Collab",
        description: "Works together",
        tags: ["pair", "live"],
        categories: ["Other"],
        assets: {
          "Microsoft.VisualStudio.Code.Manifest": "extension/package.json",
          "Microsoft.VisualStudio.Services.Icons.Default": "extension/icon.png",
        },
        file: { name: "other-9.9.9.vsix" },
      },
    ]);
  });

  test.each([
    { form: "a jar", file: "p.jar", make: pluginJar },
    { form: "a zip", file: "p.zip", make: pluginZip },
    {
      form: "a zip with stored jars",
      file: "p.zip",
      make: (options: object) => pluginZip({ ...options, compress: false }),
    },
    {
      form: "a zip with its descriptor beside lib",
      file: "p.zip",
      make: (options: { icon?: string }) =>
        zip({
          "collab/META-INF/plugin.xml": pluginXml({ ...options }),
          "collab/META-INF/pluginIcon.svg": options.icon ?? "",
        }),
    },
  ])("a JetBrains plugin is read from $form", async ({ file, make }) => {
    const options = { since: "231", until: "241.*", icon: "<svg/>" };
    put(folder, `intellij/${file}`, await make(options));
    const { intellij, problems } = await scan();
    expect(problems).toEqual([]);
    expect(intellij).toMatchObject([
      {
        id: "com.acme.collab",
        name: "Collab",
        version: "1.0",
        sinceBuild: "231",
        untilBuild: "241.*",
        vendor: { name: "Acme", email: "a@example.com", url: "https://example.com" },
        description: "<b>Works</b> together",
        changeNotes: "more & better",
        depends: ["com.intellij.modules.platform"],
        icon: "<svg/>",
      },
    ]);
  });

  test("a plugin without an id gets its name as id, and an old descriptor may reference a DTD", async () => {
    const descriptor =
      '<!DOCTYPE idea-plugin PUBLIC "Plugin/DTD" "http://127.0.0.1:1/plugin.dtd">' +
      "<idea-plugin><name>Old One</name><version>3</version></idea-plugin>";
    put(folder, "intellij/p.jar", await zip({ "META-INF/plugin.xml": descriptor }));
    expect((await scan()).intellij).toMatchObject([{ id: "Old One", version: "3" }]);
  });

  test("an Eclipse repository is offered with its features", async () => {
    await putRepository(join(folder, "eclipse"));
    const { eclipse, problems } = await scan();
    expect(problems).toEqual([]);
    expect(eclipse).toMatchObject({
      features: [{ id: "com.acme.collab", label: "Collab", version: "1.2.3.v2030" }],
      bundles: ["com.acme.collab.core_1.2.3.v2030.jar", "com.acme.collab.ui_1.2.3.v2030.jar"],
    });
  });

  test("an empty or missing folder offers nothing", async () => {
    const nothing = { vscode: [], intellij: [], eclipse: undefined, problems: [] };
    expect(await scan()).toEqual(nothing);
    expect(await scan(join(folder, "missing"))).toEqual(nothing);
    for (const name of ["vscode", "intellij", "eclipse"]) mkdirSync(join(folder, name));
    expect(await scan()).toEqual(nothing);
  });

  test("a symbolic link within the folder is followed", async () => {
    put(folder, "..data/v.vsix", await vsix());
    mkdirSync(join(folder, "vscode"));
    symlinkSync("../..data/v.vsix", join(folder, "vscode/v.vsix"));
    expect((await scan()).vscode).toMatchObject([{ name: "collab", file: { name: "v.vsix" } }]);
  });
});

describe("files that are not offered", () => {
  test("hidden and unfinished files are ignored without a problem", async () => {
    const good = await vsix();
    for (const name of [".v.vsix", "v.vsix.part", "v.vsix~", "v.vsix.crdownload", "x.tmp"]) {
      put(folder, `vscode/${name}`, good);
    }
    expect(await scan()).toMatchObject({ vscode: [], problems: [] });
  });

  test.each<[string, () => Promise<string | Buffer>, RegExp]>([
    [
      "text",
      async () => "no archive at all, but long enough to be one",
      /not a complete zip archive/,
    ],
    ["an empty file", async () => "", /not a complete zip archive/],
    ["a truncated one", async () => (await vsix()).subarray(0, -30), /not a complete zip archive/],
    ["half of one", async () => (await vsix()).subarray(0, 400), /not a complete zip archive/],
    ["a password-protected one", async () => encrypted(await vsix()), /password-protected/],
    ["one without a manifest", () => zip({ a: "b" }), /extension\.vsixmanifest is missing/],
    ["a plugin of JetBrains", () => pluginZip(), /extension\.vsixmanifest is missing/],
    [
      "a manifest that is not XML",
      () => vsix({ entries: { "extension.vsixmanifest": "<PackageManifest" } }),
      /not well-formed XML/,
    ],
    [
      "a manifest with another root element",
      () => vsix({ entries: { "extension.vsixmanifest": "<a/>" } }),
      /has no <PackageManifest>/,
    ],
    ["an id that is a path", () => vsix({ name: "../x" }), /invalid Id: "\.\.\/x"/],
    ["a version that is none", () => vsix({ version: "1.0" }), /"1\.0" is not a semantic version/],
    [
      "a package.json of another extension",
      () =>
        vsix({
          entries: { "extension/package.json": '{"name":"x","publisher":"y","version":"1.0.0"}' },
        }),
      /has acme\.collab@1\.0\.0, but .* has y\.x@1\.0\.0/,
    ],
    [
      "a package.json that is not JSON",
      () => vsix({ entries: { "extension/package.json": "{" } }),
      /is not valid JSON/,
    ],
    [
      "a manifest of 2 MiB",
      () => vsix({ entries: { "extension.vsixmanifest": " ".repeat(2 * 1024 * 1024) } }),
      /larger than 1048576 bytes/,
    ],
    ["a bomb", () => bomb(300 * 1024 * 1024), /zip bomb/],
  ])("a .vsix is not offered: %s", async (_, make, expected) => {
    put(folder, "vscode/bad.vsix", await make());
    put(folder, "vscode/good.vsix", await vsix());
    expect(await reason("vscode/bad.vsix")).toMatch(expected);
    expect((await scan()).vscode).toHaveLength(1);
  });

  test("entities that grow without limit are not expanded", async () => {
    const manifest = `<!DOCTYPE x [<!ENTITY a "${"x".repeat(5000)}">]><PackageManifest>${"&a;".repeat(5000)}</PackageManifest>`;
    put(folder, "vscode/bad.vsix", await vsix({ entries: { "extension.vsixmanifest": manifest } }));
    expect(await reason("vscode/bad.vsix")).toMatch(/entity bomb/);
  });

  test("a corrupt entry is a problem", async () => {
    const archive = await zip(
      { "META-INF/plugin.xml": pluginXml({ version: "1.0" }) },
      { compress: false },
    );
    const at = archive.indexOf("<version>1.0");
    archive.write("2", at + "<version>".length);
    put(folder, "intellij/bad.jar", archive);
    expect(await reason("intellij/bad.jar")).toMatch(/is corrupt/);
  });

  test.each<[string, () => Promise<Buffer>, RegExp]>([
    [
      "no descriptor",
      () => zip({ "x/lib/a.jar": "", "x/readme": "" }),
      /not a complete zip|no META-INF/,
    ],
    [
      "no version",
      () => zip({ "META-INF/plugin.xml": "<idea-plugin><id>a</id></idea-plugin>" }),
      /no valid version/,
    ],
    [
      "a zip bomb in a jar",
      () => bomb(70 * 1024 * 1024, "x/lib/x.jar"),
      /too large to inspect: x\/lib\/x\.jar/,
    ],
    [
      "a path out of the archive",
      async () => {
        const archive = await zip({ "META-INF/plugin.xml": pluginXml(), "aa/evil.txt": "x" });
        for (let at = archive.indexOf("aa/evil"); at >= 0; at = archive.indexOf("aa/evil")) {
          archive.write("../evil", at);
        }
        return archive;
      },
      /invalid relative path/,
    ],
  ])("a JetBrains plugin is not offered: %s", async (_, make, expected) => {
    put(folder, "intellij/bad.zip", await make());
    expect(await reason("intellij/bad.zip")).toMatch(expected);
  });

  test("the second of two files with the same id and version is not offered, unless the platform differs", async () => {
    put(folder, "vscode/b.vsix", await vsix());
    put(folder, "vscode/a.vsix", await vsix({ publisher: "ACME" }));
    put(folder, "vscode/c.vsix", await vsix({ targetPlatform: "win32-x64" }));
    put(folder, "intellij/1.zip", await pluginZip());
    put(folder, "intellij/2.jar", await pluginJar());
    const { vscode, intellij, problems } = await scan();
    expect(vscode.map(({ file }) => file.name)).toEqual(["a.vsix", "c.vsix"]);
    expect(intellij.map(({ file }) => file.name)).toEqual(["1.zip"]);
    expect(problems).toEqual([
      {
        file: "vscode/b.vsix",
        reason: "same id and version as a.vsix (acme.collab 1.0.0)",
      },
      {
        file: "intellij/2.jar",
        reason: "same id and version as 1.zip (com.acme.collab 1.0)",
      },
    ]);
  });

  test("files with wrong names, non-files and links to outside the folder are problems", async () => {
    const outside = tempFolder();
    put(outside, "secret.vsix", await vsix());
    put(folder, "vscode/readme.txt", "x");
    put(folder, "vscode/a.zip", await vsix());
    put(folder, "vscode/con.vsix", await vsix());
    mkdirSync(join(folder, "vscode/folder.vsix"));
    symlinkSync(join(outside, "secret.vsix"), join(folder, "vscode/out.vsix"));
    symlinkSync("missing.vsix", join(folder, "vscode/nowhere.vsix"));
    symlinkSync("loop.vsix", join(folder, "vscode/loop.vsix"));
    symlinkSync(outside, join(folder, "intellij"));
    symlinkSync(outside, join(folder, "eclipse"));
    const { vscode, intellij, eclipse, problems } = await scan();
    expect([vscode, intellij, eclipse]).toEqual([[], [], undefined]);
    const reasons = Object.fromEntries(problems.map(({ file, reason }) => [file, reason]));
    expect(reasons).toEqual({
      "vscode/readme.txt": "the file name does not end in .vsix",
      "vscode/a.zip": "the file name does not end in .vsix",
      "vscode/con.vsix": "the file name is reserved on Windows",
      "vscode/folder.vsix": "not a regular file",
      "vscode/out.vsix": "the symbolic link points outside the clients folder",
      "vscode/nowhere.vsix": "the symbolic link points to a missing file",
      "vscode/loop.vsix": "the symbolic link points to itself",
      "intellij/": "the symbolic link points outside the clients folder",
      "eclipse/": "the symbolic link points outside the clients folder",
    });
  });

  test("an unreadable file is reported as a permission problem", () => {
    expect(reasonOf(Object.assign(new Error(), { code: "EACCES" }))).toBe(
      "permission denied: make it readable for the user that runs the edge",
    );
  });

  test.each<[string, string, RegExp | undefined]>([
    ["files that are there", "metadata.repository.factory.order=content.xml,\\!", undefined],
    [
      "one existing file of two",
      "metadata.repository.factory.order = compositeContent.xml , content.xml,\\!",
      undefined,
    ],
    ["nothing", "version=1", undefined],
    ["nothing in a comment", "#metadata.repository.factory.order=none.xml", undefined],
    [
      "only missing metadata",
      "version = 1\r\nmetadata.repository.factory.order: compositeContent.xml,\\\r\n  content.xml.xz,\\!\r\n",
      /^it lists only missing files for metadata \(compositeContent\.xml, content\.xml\.xz\), so clients find no repository/,
    ],
    [
      "only missing artifacts, with a fallback",
      "artifact.repository.factory.order=artifacts.xml.xz",
      /^it lists only missing files for artifact \(artifacts\.xml\.xz\), so clients waste requests on them first/,
    ],
    ["far too much", `#${" ".repeat(70_000)}`, /larger than 65536 bytes/],
  ])("a p2.index that lists %s is checked", async (_, contents, expected) => {
    await putRepository(join(folder, "eclipse"));
    put(folder, "eclipse/p2.index", contents);
    put(folder, "eclipse/part/p2.index", contents.replaceAll(/\.factory\.order.*/gs, ""));
    const found = await reason("eclipse/p2.index");
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(expected);
    expect((await scan()).eclipse?.features).toHaveLength(1);
  });

  test("a p2.index in a subfolder of a repository is checked, and again when it changes", async () => {
    await putRepository(join(folder, "eclipse"));
    const scanner = createScanner({
      folder,
      clock: { wallMs: () => Date.now() + 60_000, nowMs: () => 0 },
    });
    const problems = async () => (await scanner.scan()).offer.problems.map(({ file }) => file);
    put(folder, "eclipse/child/content.xml", "<repository/>");
    put(folder, "eclipse/child/p2.index", "metadata.repository.factory.order=content.xml.xz,!");
    expect(await problems()).toEqual(["eclipse/child/p2.index"]);
    put(folder, "eclipse/child/p2.index", "metadata.repository.factory.order=content.xml,!");
    expect(await problems()).toEqual([]);
  });

  test("an Eclipse folder without a repository and a repository with mirrors are problems", async () => {
    put(folder, "eclipse/readme.txt", "x");
    expect(await reason("eclipse/")).toMatch(/not a p2 repository/);
    const property = '<property name="p2.mirrorsURL" value="http://mirrors.example.com"/>';
    await putRepository(join(folder, "eclipse"), { properties: property });
    expect(await reason("eclipse/artifacts")).toMatch(
      /to mirrors at http:\/\/mirrors\.example\.com/,
    );
    expect((await scan()).eclipse?.features).toHaveLength(1);
  });
});

// --- changes over time ---

const SPEED = 5;
/** Periods and limits are a fifth as long. The wall clock is the system's, as the times of files are. */
const fastClock: Clock = {
  wallMs: () => systemClock.wallMs(),
  nowMs: () => systemClock.nowMs() * SPEED,
  after: (delayMs, action) => systemClock.after(delayMs / SPEED, action),
  every: (periodMs, action) => systemClock.every(periodMs / SPEED, action),
};

function open(
  options: { readonly clock?: Clock; readonly indexFile?: string; logsProblems?: boolean } = {},
) {
  const { log, lines } = collectingLog();
  const catalog = createCatalog({
    folder,
    clock: options.clock ?? fastClock,
    indexFile: options.indexFile,
    logsProblems: options.logsProblems ?? true,
    log,
  });
  opened.push(catalog);
  return { catalog, lines };
}

const versionsOf = (catalog: Catalog) => catalog.offer.vscode.map(({ version }) => version).sort();

describe("without a restart", () => {
  test("added, changed and removed files are detected without a restart", async () => {
    const { catalog } = open();
    await catalog.ready();
    expect(versionsOf(catalog)).toEqual([]);
    put(folder, "vscode/a.vsix", await vsix());
    await until("the first is offered", () => versionsOf(catalog).join() === "1.0.0");
    writeFileSync(join(folder, "vscode/a.vsix"), await vsix({ version: "1.1.0" }));
    put(folder, "vscode/b.vsix", await vsix({ version: "2.0.0" }));
    await until("both are offered", () => versionsOf(catalog).join() === "1.1.0,2.0.0");
    unlinkSync(join(folder, "vscode/a.vsix"));
    await until("one is offered", () => versionsOf(catalog).join() === "2.0.0");
    await putRepository(join(folder, "eclipse"));
    await until("the repository is offered", () => catalog.offer.eclipse?.features.length === 1);
    await putRepository(join(folder, "eclipse"), { version: "2.0.0" });
    await until("its new feature is there", () => catalog.offer.eclipse?.features.length === 2);
    rmSync(folder, { recursive: true });
    await until("nothing is offered", () => versionsOf(catalog).length === 0);
  });

  test("a file that is still being copied is offered when it is complete, and nothing is logged before", async () => {
    // A copy that pauses for as long as the limit may be taken for a broken file.
    const { catalog, lines } = open({ clock: systemClock });
    await catalog.ready();
    const whole = await vsix({ entries: { "extension/data": Buffer.alloc(300_000, "x") } });
    const path = put(folder, "vscode/a.vsix", whole.subarray(0, 100));
    const step = Math.ceil(whole.length / 8);
    for (let at = 100; at < whole.length; at += step) {
      const looked = catalog.offer;
      appendFileSync(path, whole.subarray(at, at + step));
      expect(looked.vscode).toEqual([]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until("it is offered", () => versionsOf(catalog).length === 1);
    expect(lines.filter((line) => line.includes("a.vsix"))).toEqual([]);
  });

  test("a broken file is logged once, and again only if it comes back", {
    timeout: 60_000,
  }, async () => {
    const { catalog, lines } = open();
    const logged = () => lines.filter((line) => line.includes("vscode/bad.vsix"));
    const path = put(folder, "vscode/bad.vsix", "nothing");
    await until("the problem is logged", () => logged().length > 0, 20_000);
    expect(logged()).toHaveLength(1);
    expect(logged()[0]).toMatch(/WARN a plugin file is not offered .*not a complete zip/);
    put(folder, "vscode/good.vsix", await vsix());
    await until("the good one is offered", () => versionsOf(catalog).length === 1);
    expect(logged()).toHaveLength(1);
    renameSync(path, join(folder, "bad"));
    await until("it is gone", () => catalog.offer.problems.length === 0);
    renameSync(join(folder, "bad"), path);
    await until("the problem is logged again", () => logged().length === 2, 20_000);
  });

  test("of several workers only one logs the problems", async () => {
    put(folder, "vscode/readme.txt", "x");
    const { catalog, lines } = open({ logsProblems: false });
    await catalog.ready();
    expect(catalog.offer.problems).toHaveLength(1);
    expect(lines.filter((line) => !line.includes("DEBUG"))).toEqual([]);
  });

  test("the digest of each offered file is computed", async () => {
    const bytes = await vsix();
    put(folder, "vscode/a.vsix", bytes);
    const { catalog } = open();
    const digest = await until("the digest is computed", () => {
      const [extension] = catalog.offer.vscode;
      return extension && catalog.digestOf(extension.file);
    });
    expect(digest).toBe(createHash("sha256").update(bytes).digest("hex"));
  });
});

describe("persistence", () => {
  const old = new Date(Date.now() - 100_000);

  /** Changes a fact in the index: the next run shows it only if it did not read the archive. */
  async function runTwice(between: (index: string) => void): Promise<string[]> {
    const indexFile = join(folder, "index.json");
    utimesSync(put(folder, "vscode/a.vsix", await vsix()), old, old);
    const first = open({ indexFile });
    await until("the index is written", () => {
      const index = readFileSync(indexFile, "utf8");
      return index.includes("1.0.0");
    });
    await first.catalog.close();
    between(indexFile);
    const second = open({ indexFile });
    await second.catalog.ready();
    return until("it is offered", () => {
      const versions = versionsOf(second.catalog);
      return versions.length > 0 && versions;
    });
  }

  test("the index file lets the next run skip unchanged archives", async () => {
    const rewrite = (index: string) => {
      const text = readFileSync(index, "utf8");
      writeFileSync(index, text.replaceAll("1.0.0", "7.7.7"));
    };
    expect(await runTwice(rewrite)).toEqual(["7.7.7"]);
  });

  test("the index file is not used for a file that has changed", async () => {
    const changed = await vsix({ version: "1.2.3" });
    const rewrite = () => writeFileSync(join(folder, "vscode/a.vsix"), changed);
    expect(await runTwice(rewrite)).toEqual(["1.2.3"]);
  });

  test.each(["", "{", '{"format":1,"known":{"vscode/a.vsix":{"stamp":1}},"digests":{}}', "[]"])(
    "an invalid index file is ignored: %s",
    async (nonsense) => {
      expect(await runTwice((index) => writeFileSync(index, nonsense))).toEqual(["1.0.0"]);
    },
  );
});
