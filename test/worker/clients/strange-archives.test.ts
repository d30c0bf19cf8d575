/** Unusual archives from real tools, and malicious ones. */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { ArchiveError } from "../../../worker/clients/formats/archive.ts";
import { readPlugin } from "../../../worker/clients/formats/plugin.ts";
import { readVsix, readVsixAsset } from "../../../worker/clients/formats/vsix.ts";
import {
  overlapping,
  pluginJar,
  pluginXml,
  pluginZip,
  put,
  respelled,
  vsix,
  zip,
} from "../../support/plugins.ts";
import { tempFolder } from "../../support/temp-folder.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

async function plugin(bytes: Buffer) {
  return readPlugin(put(folder, "p.zip", bytes));
}

describe("names of entries", () => {
  test.each<[string, () => Promise<Buffer>]>([
    ["with a dot before", async () => respelled(await pluginZip(), "collab/", "./llab/")],
    [
      "with dots and slashes within",
      async () =>
        respelled(
          await zip({ "collab/_____lib/a.jar": await pluginJar() }),
          "/_____lib",
          "/././/lib",
        ),
    ],
    [
      "with backslashes",
      async () =>
        respelled(await zip({ "x|lib|a.jar": await pluginJar() }), "x|lib|a", "x\\lib\\a"),
    ],
    [
      "with a dot in the jar",
      async () =>
        zip({
          "x/lib/a.jar": respelled(
            await zip({ "__META-INF/plugin.xml": pluginXml() }),
            "__META",
            "./META",
          ),
        }),
    ],
    [
      "with a descriptor beside lib",
      async () => respelled(await zip({ "__x/META-INF/plugin.xml": pluginXml() }), "__x/", "./x/"),
    ],
  ])("entry names %s are normalized", async (_, make) => {
    expect(await plugin(await make())).toMatchObject({ id: "com.acme.collab", version: "1.0" });
  });

  test("an entry that is a symbolic link or has a NUL in its name is ignored", async () => {
    const linked = await zip({ "META-INF/plugin.xml": pluginXml() });
    const at = linked.indexOf(Buffer.from("PK\x01\x02", "latin1"));
    linked.writeUInt16LE((3 << 8) | 20, at + 4);
    linked.writeUInt32LE((0o120777 << 16) >>> 0, at + 38);
    await expect(plugin(linked)).rejects.toThrow(/no META-INF\/plugin\.xml/);
    const good = await zip({ "META-INF/plugin.xml": pluginXml() });
    await expect(plugin(respelled(good, "plugin.xml", "plugin\0xml"))).rejects.toThrow(
      /no META-INF\/plugin\.xml/,
    );
  });
});

describe("further jars in a plugin", () => {
  test("a broken library jar does not prevent the plugin from being offered", async () => {
    const bad = {
      "collab/lib/a.jar": "no zip",
      "collab/lib/collab.jar": (await pluginJar()).subarray(0, -9),
    };
    expect(await plugin(await pluginZip({ entries: bad }))).toMatchObject({ version: "1.0" });
  });

  test("a library jar with an invalid descriptor is skipped", async () => {
    const bad = { "collab/lib/collab.jar": await zip({ "META-INF/plugin.xml": "<idea-plugin/>" }) };
    expect(await plugin(await pluginZip({ entries: bad }))).toMatchObject({ version: "1.0" });
  });

  test("if all jars are broken, the reason names them", async () => {
    const jars = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`x/lib/${i}.jar`, "this is no zip"]),
    );
    await expect(plugin(await zip(jars))).rejects.toThrow(
      /no META-INF\/plugin\.xml in the archive .*\(x\/lib\/0\.jar: not a complete zip.*, x\/lib\/2\.jar: .* and 6 more\)$/,
    );
  });

  test("overlapping jars (one archive under very many names) are refused early", async () => {
    const jar = overlapping(20_000, (i) => `a/${i}`, Buffer.alloc(0));
    const control = await elapsed(() => plugin(overlapping(1, (i) => `x/lib/${i}.jar`, jar)));
    const ms = await elapsed(() => plugin(overlapping(150, (i) => `x/lib/${i}.jar`, jar)));
    // 300,000 entries are those of 15.
    expect(ms).toBeLessThan(control * 15 * 3);
  });

  async function elapsed(action: () => Promise<unknown>): Promise<number> {
    const startMs = performance.now();
    await expect(action()).rejects.toThrow(ArchiveError);
    return performance.now() - startMs;
  }
});

describe("a descriptor that includes others", () => {
  const xi = 'xmlns:xi="http://www.w3.org/2001/XInclude"';
  const including = (hrefs: readonly string[], more = "<id>x.inc</id>"): string =>
    `<idea-plugin ${xi}>${more}${hrefs.map((href) => `<xi:include href="${href}"/>`).join("")}</idea-plugin>`;
  const jar = (entries: Record<string, string>, head = including(["/META-INF/common.xml"])) =>
    zip({ "META-INF/plugin.xml": head, ...entries });
  const version =
    "<idea-plugin><version>1.0</version><idea-version since-build='231'/></idea-plugin>";

  test.each<[string, () => Promise<Buffer>]>([
    ["from the root", () => jar({ "META-INF/common.xml": version })],
    ["beside it", () => jar({ "META-INF/common.xml": version }, including(["common.xml"]))],
    ["a folder up", () => jar({ "more/common.xml": version }, including(["../more/common.xml"]))],
    ["of a module", () => jar({ "intellij.x.xml": version }, including(["intellij.x.xml"]))],
    [
      "over two steps",
      () =>
        jar({ "META-INF/common.xml": including(["sub/v.xml"], ""), "META-INF/sub/v.xml": version }),
    ],
    [
      "by a pointer",
      () =>
        jar(
          { "META-INF/common.xml": version.replaceAll("idea-plugin", "parts") },
          including([]).replace(
            "</idea",
            '<xi:include href="common.xml" xpointer="xpointer(/parts/*)"/></idea',
          ),
        ),
    ],
    [
      "in a folder of a zip",
      () =>
        zip({
          "x/META-INF/plugin.xml": including(["/META-INF/common.xml"]),
          "x/META-INF/common.xml": version,
        }),
    ],
    [
      "in a jar of a zip",
      async () => zip({ "x/lib/x.jar": await jar({ "META-INF/common.xml": version }) }),
    ],
  ])("a descriptor takes version and build range from includes: %s", async (_, make) => {
    const bytes = await make();
    expect(await plugin(bytes)).toMatchObject({ id: "x.inc", version: "1.0", sinceBuild: "231" });
  });

  test("values of the descriptor take precedence over included ones", async () => {
    const head = including(["common.xml"], "<id>x.inc</id><version>2.0</version>");
    expect(await plugin(await jar({ "META-INF/common.xml": version }, head))).toMatchObject({
      version: "2.0",
      sinceBuild: "231",
    });
  });

  test("a missing or broken include is a problem only if its values are needed", async () => {
    const head = including(["a.xml", "b.xml"], "<id>x.inc</id><version>1.0</version>");
    expect(await plugin(await jar({ "META-INF/b.xml": "<idea" }, head))).toMatchObject({
      version: "1.0",
    });
    await expect(
      plugin(await jar({ "META-INF/b.xml": "<idea" }, including(["a.xml", "b.xml"]))),
    ).rejects.toThrow(
      /no valid version \(not included: a\.xml: not in the same archive, b\.xml: .*not well-formed XML/,
    );
  });

  test("an include never reads outside its archive", async () => {
    for (const href of [
      "../../../etc/passwd",
      "/etc/passwd",
      "file:///etc/passwd",
      "http://127.0.0.1:1/x.xml",
    ]) {
      await expect(plugin(await jar({}, including([href])))).rejects.toThrow(
        /not in the same archive/,
      );
    }
  });

  test("circular and very many includes terminate", async () => {
    const names = Array.from({ length: 500 }, (_, i) => `${i}.xml`);
    const each = Object.fromEntries(
      names.map((name) => [`META-INF/${name}`, including(names, "")]),
    );
    await expect(plugin(await jar(each, including(names)))).rejects.toThrow(/no valid version/);
    const own = await jar({ "META-INF/common.xml": including(["plugin.xml", "common.xml"], "") });
    await expect(plugin(own)).rejects.toThrow(/no valid version/);
  });
});

describe("assets of an extension", () => {
  const README = "# hello";
  test.each([
    ["extension/GUIDE.md", "extension/guide.md"],
    ["Extension/Guide.MD", "extension/GUIDE.md"],
    ["extension/images/my%20icon.md", "extension/images/my icon.md"],
    ["extension/my icon.md", "extension/my%20icon.md"],
    ["/extension/GUIDE.md", "extension/GUIDE.md"],
    ["./extension//GUIDE.md", "extension/GUIDE.md"],
    ["extension\\media\\GUIDE.md", "extension/media/GUIDE.md"],
    ["\\extension%5Cmedia%2FGUIDE.md", "extension/media/GUIDE.md"],
    ["extension/100%.md", "extension/100%.md"],
    ["extension/u\u0308ber.md", "extension/\u00fcber.md"],
  ])("the asset path %s resolves to the entry %s", async (asset, entry) => {
    const path = put(folder, "e.vsix", await vsix({ entries: { [entry]: README } }));
    expect((await readVsixAsset(path, asset, 1000)).toString()).toBe(README);
  });

  test("of two entries that differ only by case, the exact one is read", async () => {
    const entries = { "extension/readme.md": "small", "extension/README.md": "large" };
    const path = put(folder, "e.vsix", await vsix({ entries }));
    expect((await readVsixAsset(path, "/extension/readme.md", 99)).toString()).toBe("small");
    expect((await readVsixAsset(path, "/extension/README.md", 99)).toString()).toBe("large");
  });

  test.each([
    "../package.json",
    "extension/%2e%2e/x",
    "extension/",
    "",
    "%00",
    "extension/none.md",
  ])("the asset path %j resolves to nothing", async (asset) => {
    const path = put(folder, "e.vsix", await vsix());
    await expect(readVsixAsset(path, asset, 1000)).rejects.toThrow(ArchiveError);
  });
});

describe("versions of extensions", () => {
  test.each(["1.2.3", "1.2.3+build.5", "1.2.3-rc.1", "1.2.3-rc.1+5.sha.9"])(
    "%s is a valid version of an extension",
    async (version) => {
      const path = put(folder, "e.vsix", await vsix({ version }));
      expect(await readVsix(path)).toMatchObject({ version });
    },
  );

  test.each(["1.2", "v1.2.3", " 1.2.3+", "1.2.3+", "1.2.3+a..b", "01.2.3+b", "1.2.3+ü"])(
    "%s is not a valid version of an extension",
    async (version) => {
      const path = put(folder, "e.vsix", await vsix({ version }));
      await expect(readVsix(path)).rejects.toThrow(/is not a semantic version/);
    },
  );

  test("a package without a publisher is refused with that reason", async () => {
    const entries = { "extension/package.json": '{"name":"collab","version":"1.0.0"}' };
    const path = put(folder, "e.vsix", await vsix({ publisher: "undefined", entries }));
    await expect(readVsix(path)).rejects.toThrow(/package\.json has no publisher/);
  });
});

describe("corrupt archives", () => {
  test.each<[string, () => Promise<Buffer>, (path: string) => Promise<unknown>]>([
    ["a plugin", () => pluginZip(), readPlugin],
    ["a plugin of stored jars", () => pluginZip({ compress: false }), readPlugin],
    ["an extension", () => vsix(), readVsix],
  ])("%s is either read or refused with a reason, whatever is damaged", async (_, make, read) => {
    const good = await make();
    const at = fc.nat(good.length - 1);
    const byte = fc.constantFrom(0x00, 0x01, 0x2f, 0x50, 0x7f, 0xff);
    const damage = fc.array(fc.tuple(at, fc.array(byte, { minLength: 1, maxLength: 8 })), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(damage, fc.option(at, { nil: good.length }), async (changes, end) => {
        const bytes = Buffer.from(good);
        for (const [start, values] of changes) Buffer.from(values).copy(bytes, start);
        const path = put(folder, "damaged", bytes.subarray(0, end));
        await read(path).catch((error: unknown) => {
          expect(error).toBeInstanceOf(ArchiveError);
          expect(String(error).length).toBeLessThan(2000);
        });
      }),
      { numRuns: 400 },
    );
  });
});
