/** The archive of the companion extension, read by the reader of the operator's extensions. */
import { beforeEach, expect, test } from "vitest";
import {
  companionFileName,
  companionVsix,
  dependencyOf,
  withCompanion,
} from "../../../../worker/clients/companion/package.ts";
import { storedZip } from "../../../../worker/clients/companion/stored-zip.ts";
import { withArchive } from "../../../../worker/clients/formats/archive.ts";
import type { VscodeArtifact } from "../../../../worker/clients/formats/artifact.ts";
import { NOTHING } from "../../../../worker/clients/formats/scan.ts";
import { readVsix, readVsixAsset } from "../../../../worker/clients/formats/vsix.ts";
import { put } from "../../../support/plugins.ts";
import { tempFolder } from "../../../support/temp-folder.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

const CONTENT = {
  serverUrl: "https://edge.example.com/base",
  dependency: "typefox.open-collaboration-tools",
};

test("the companion depends on Open Collaboration Tools, sets its two URLs, and has no code", async () => {
  const path = put(folder, "c.vsix", companionVsix(CONTENT, "1.20300131.5"));
  expect(await readVsix(path)).toMatchObject({
    publisher: "codetogether-edge",
    name: "companion",
    version: "1.20300131.5",
    targetPlatform: "universal",
    preRelease: false,
    properties: expect.arrayContaining([
      {
        key: "Microsoft.VisualStudio.Code.ExtensionDependencies",
        value: "typefox.open-collaboration-tools",
      },
    ]),
  });
  const about = JSON.parse(
    (await readVsixAsset(path, "extension/package.json", 10_000)).toString(),
  ) as Record<string, unknown>;
  expect(about).toMatchObject({
    extensionDependencies: ["typefox.open-collaboration-tools"],
    contributes: {
      configurationDefaults: {
        "oct.serverUrl": "https://edge.example.com/base",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the extension replaces it
        "oct.webClientUrl": "https://edge.example.com/base/?room=${roomId}",
      },
    },
  });
  expect(about).not.toHaveProperty("main");
  expect(about).not.toHaveProperty("browser");
});

test("a URL with characters that XML escapes is the same in the manifest and in the settings", async () => {
  const serverUrl = `https://edge.example.com/a&b<"c">`;
  const path = put(folder, "c.vsix", companionVsix({ ...CONTENT, serverUrl }, "1.2.3"));
  const { description } = await readVsix(path);
  expect(description).toContain(serverUrl);
  const about = JSON.parse(
    (await readVsixAsset(path, "extension/package.json", 10_000)).toString(),
  ) as { readonly description: string };
  expect(about.description).toBe(description);
});

test("the same content and version always make the same bytes", () => {
  const bytes = companionVsix(CONTENT, "1.2.3");
  expect(companionVsix({ ...CONTENT }, "1.2.3")).toEqual(bytes);
  expect(companionVsix(CONTENT, "1.2.4")).not.toEqual(bytes);
});

test("a stored archive has its entries in order, and other readers accept it", async () => {
  const entries = [
    { name: "b.txt", content: "grün" },
    { name: "a/empty", content: "" },
  ];
  const path = put(folder, "a.zip", storedZip(entries));
  await withArchive(
    path,
    () => true,
    async (archive) => {
      expect([...archive.entries.keys()]).toEqual(["b.txt", "a/empty"]);
      expect((await archive.read("b.txt", 100)).toString()).toBe("grün");
      expect((await archive.read("a/empty", 100)).toString()).toBe("");
    },
  );
});

function extension(publisher: string, name: string, file = `${name}.vsix`): VscodeArtifact {
  return {
    ide: "vscode",
    publisher,
    name,
    version: "1.0.0",
    targetPlatform: "universal",
    preRelease: false,
    displayName: name,
    description: "",
    categories: [],
    tags: [],
    properties: [],
    assets: {},
    file: { name: file, path: `/clients/vscode/${file}`, bytes: 1, mtimeMs: 0 },
  };
}

test.each([
  { offered: [], id: "typefox.open-collaboration-tools" },
  {
    offered: ["acme.collab", "acme.open-collaboration-tools"],
    id: "acme.open-collaboration-tools",
  },
  {
    offered: ["acme.open-collaboration-tools", "TypeFox.open-collaboration-tools"],
    id: "TypeFox.open-collaboration-tools",
  },
])("of the offered extensions $offered, the companion configures $id", ({ offered, id }) => {
  const extensions = offered.map((name) => {
    const [publisher = "", rest = ""] = name.split(".");
    return extension(publisher, rest);
  });
  expect(dependencyOf(extensions)).toBe(id);
});

test("a file of the operator with the id or the file name of the companion is not offered", () => {
  const name = companionFileName("1.2.3");
  const companion = extension("codetogether-edge", "companion", name);
  const copy = extension("CodeTogether-Edge", "Companion", "copy.vsix");
  const other = extension("acme", "collab", name);
  const offer = { ...NOTHING, vscode: [copy, other, extension("acme", "good")] };
  expect(withCompanion(offer, companion)).toMatchObject({
    vscode: [{ name: "good" }, { file: { name } }],
    problems: [
      { file: "vscode/copy.vsix", reason: expect.stringContaining("companion extension") },
      { file: `vscode/${name}`, reason: expect.stringContaining("rename the file") },
    ],
  });
  expect(withCompanion(offer, undefined)).toMatchObject({
    vscode: [{ name: "collab" }, { name: "good" }],
    problems: [{ file: "vscode/copy.vsix" }],
  });
});
