/** The gallery's responses, as values. */
import { describe, expect, test } from "vitest";
import type { VscodeArtifact } from "../../../../worker/clients/formats/artifact.ts";
import {
  createGallery,
  type Query,
  querySchema,
  stableUuid,
} from "../../../../worker/clients/serve/gallery.ts";

const context = {
  downloads: new Map([["Acme.collab", 7]]),
  assetsUrl: ({ name, version, targetPlatform }: VscodeArtifact) =>
    `https://edge/${name}/${version}/${targetPlatform}`,
};

function build(facts: Partial<VscodeArtifact> = {}): VscodeArtifact {
  return {
    ide: "vscode",
    publisher: "Acme",
    name: "collab",
    version: "1.0.0",
    targetPlatform: "universal",
    preRelease: false,
    displayName: "Collab",
    description: "Works together",
    categories: ["Other"],
    tags: ["pair"],
    properties: [{ key: "Microsoft.VisualStudio.Code.Engine", value: "^1.80.0" }],
    assets: { "Microsoft.VisualStudio.Code.Manifest": "extension/package.json" },
    file: { name: "f.vsix", path: "/f.vsix", bytes: 1, mtimeMs: 1_900_000_000_000 },
    ...facts,
  };
}

const OFFER = [
  build({ version: "1.9.0" }),
  build({ version: "1.10.0" }),
  build({ version: "1.10.0", targetPlatform: "linux-x64" }),
  build({ version: "2.0.0-rc.1", targetPlatform: "linux-x64", preRelease: true }),
  build({ name: "paint", displayName: "A Paint", tags: ["draw"], categories: ["Themes"] }),
];
const gallery = createGallery(OFFER);

interface Shown {
  readonly extensionName: string;
  readonly extensionId: string;
  readonly versions: readonly {
    version: string;
    targetPlatform?: string;
    assetUri?: string;
    fallbackAssetUri?: string;
    files?: readonly { assetType: string; source: string }[];
    properties?: unknown;
  }[];
  readonly categories?: unknown;
  readonly statistics?: unknown;
}

type Criterion = { filterType: number; value?: string };

function ask(criteria: Criterion[], more: object = {}, flags = 950) {
  const query: Query = querySchema.parse({ filters: [{ criteria, ...more }], flags });
  const { results } = gallery.query(query, context) as {
    results: { extensions: Shown[]; resultMetadata: unknown }[];
  };
  const [result] = results;
  return { extensions: result?.extensions ?? [], metadata: result?.resultMetadata };
}

const names = (criteria: Criterion[], more?: object): string[] =>
  ask(criteria, more).extensions.map(({ extensionName }) => extensionName);
const versions = (flags: number): string[] =>
  (ask([{ filterType: 7, value: "acme.collab" }], {}, flags).extensions[0]?.versions ?? []).map(
    ({ version, targetPlatform = "any" }) => `${version} ${targetPlatform}`,
  );

describe("queries", () => {
  test("a query selects extensions by name, id, tag, category and text, ignoring case", () => {
    expect(names([{ filterType: 7, value: "aCmE.Collab" }])).toEqual(["collab"]);
    expect(names([{ filterType: 4, value: stableUuid("acme.paint").toUpperCase() }])).toEqual([
      "paint",
    ]);
    expect(names([{ filterType: 1, value: "Draw" }])).toEqual(["paint"]);
    expect(names([{ filterType: 5, value: "themes" }])).toEqual(["paint"]);
    expect(names([{ filterType: 10, value: "TOGETHER acme" }])).toEqual(["paint", "collab"]);
    expect(names([{ filterType: 10, value: "together nothing" }])).toEqual([]);
    expect(names([{ filterType: 9, value: "" }])).toEqual([]);
  });

  test("a query combines criteria by OR, requires the target, and ignores unknown criteria", () => {
    const both = [
      { filterType: 7, value: "acme.collab" },
      { filterType: 4, value: stableUuid("acme.paint") },
    ];
    const target = { filterType: 8, value: "Microsoft.VisualStudio.Code" };
    const exclude = { filterType: 12, value: "4096" };
    expect(names([...both, target, exclude])).toEqual(["paint", "collab"]);
    expect(names([...both, { filterType: 8, value: "Other.Product" }])).toEqual([]);
    expect(names([target, exclude])).toEqual(["paint", "collab"]);
    expect(names([])).toEqual(["paint", "collab"]);
  });

  test("a query is answered in pages, with the total count", () => {
    expect(names([], { pageNumber: 1, pageSize: 1 })).toEqual(["paint"]);
    expect(names([], { pageNumber: 2, pageSize: 1 })).toEqual(["collab"]);
    expect(names([], { pageNumber: 3, pageSize: 1 })).toEqual([]);
    expect(names([], { pageNumber: -5, pageSize: -5 })).toEqual(["paint"]);
    expect(ask([], { pageNumber: 1, pageSize: 1 }).metadata).toEqual([
      { metadataType: "ResultCount", metadataItems: [{ name: "TotalCount", count: 2 }] },
    ]);
  });

  test("a query is answered in the requested order", () => {
    expect(names([], { sortBy: 2, sortOrder: 2 })).toEqual(["collab", "paint"]);
    expect(names([], { sortBy: 2, sortOrder: 1 })).toEqual(["paint", "collab"]);
    expect(names([], { sortBy: 4, sortOrder: 0 })).toEqual(["collab", "paint"]);
    expect(names([], { sortBy: 4, sortOrder: 1 })).toEqual(["paint", "collab"]);
  });
});

describe("versions", () => {
  test("the versions of an extension are the newest of each platform, including pre-releases, because the client asks again", () => {
    expect(versions(950)).toEqual(["2.0.0-rc.1 linux-x64", "1.10.0 any"]);
  });

  test("the versions of an extension are all of them, newest first, when the flags say so", () => {
    expect(versions(439)).toEqual([
      "2.0.0-rc.1 linux-x64",
      "1.10.0 linux-x64",
      "1.10.0 any",
      "1.9.0 any",
    ]);
  });

  test("the versions of an extension are the newest release and the newest pre-release of each platform when the flags say so", () => {
    expect(versions(0x10000 | 0x80)).toEqual([
      "2.0.0-rc.1 linux-x64",
      "1.10.0 linux-x64",
      "1.10.0 any",
    ]);
  });

  test("a response has the details that the flags request", () => {
    const [all] = ask([{ filterType: 7, value: "acme.paint" }]).extensions;
    expect(all?.versions).toEqual([
      {
        version: "1.0.0",
        flags: "validated",
        lastUpdated: "2030-03-17T17:46:40.000Z",
        assetUri: "https://edge/paint/1.0.0/universal",
        fallbackAssetUri: "https://edge/paint/1.0.0/universal",
        properties: [{ key: "Microsoft.VisualStudio.Code.Engine", value: "^1.80.0" }],
        files: [
          {
            assetType: "Microsoft.VisualStudio.Code.Manifest",
            source: "https://edge/paint/1.0.0/universal/Microsoft.VisualStudio.Code.Manifest",
          },
          {
            assetType: "Microsoft.VisualStudio.Services.VSIXPackage",
            source:
              "https://edge/paint/1.0.0/universal/Microsoft.VisualStudio.Services.VSIXPackage",
          },
        ],
      },
    ]);
    expect(all?.categories).toEqual(["Themes"]);
    expect(all?.statistics).toEqual([{ statisticName: "install", value: 0 }]);
    const [bare] = ask([{ filterType: 7, value: "acme.paint" }], {}, 0x200).extensions;
    expect(bare?.versions[0]).not.toHaveProperty("files");
    expect(bare).not.toHaveProperty("categories");
  });

  test("one build is found by version and platform", () => {
    const wanted = { publisher: "acme", name: "COLLAB", version: "1.10.0" };
    expect(gallery.find(wanted)?.targetPlatform).toBe("universal");
    expect(gallery.find({ ...wanted, targetPlatform: "linux-x64" })?.targetPlatform).toBe(
      "linux-x64",
    );
    expect(gallery.find({ ...wanted, targetPlatform: "win32-x64" })).toBeUndefined();
    expect(gallery.find({ ...wanted, version: "2.0.0-rc.1" })?.targetPlatform).toBe("linux-x64");
    expect(gallery.find({ ...wanted, version: "9.0.0" })).toBeUndefined();
  });
});

describe("latest", () => {
  const latest = (artifacts: readonly VscodeArtifact[], targetPlatform?: string) => {
    const wanted = { publisher: "acme", name: "Collab", version: "latest", targetPlatform };
    const found = createGallery(artifacts).find(wanted);
    return found && `${found.version} ${found.targetPlatform}`;
  };

  test("the latest version is the newest release, even if there is a newer pre-release", () => {
    expect(latest(OFFER)).toBe("1.10.0 universal");
    expect(latest(OFFER, "linux-x64")).toBe("1.10.0 linux-x64");
    expect(latest(OFFER, "win32-x64")).toBe("1.10.0 universal");
  });

  test("the latest version is a pre-release if there is no release, and missing if there is neither", () => {
    expect(latest([build({ version: "2.0.0", preRelease: true })])).toBe("2.0.0 universal");
    expect(latest([])).toBeUndefined();
  });

  test("the latest version is older when the newest has no universal build and none for the requested platform", () => {
    const builds = [
      build({ version: "2.0.0", targetPlatform: "linux-x64" }),
      build({ version: "2.0.0", targetPlatform: "win32-x64" }),
      build({ version: "1.9.0" }),
    ];
    expect(latest(builds)).toBe("1.9.0 universal");
    expect(latest(builds, "darwin-arm64")).toBe("1.9.0 universal");
    expect(latest(builds, "win32-x64")).toBe("2.0.0 win32-x64");
    expect(latest(builds.slice(0, 2), "darwin-arm64")).toBeUndefined();
  });

  test("the latest version is the one with the higher build metadata of two equal semantic versions", () => {
    const builds = [build({ version: "1.2.3+build.9" }), build({ version: "1.2.3+build.10" })];
    expect(latest(builds)).toBe("1.2.3+build.10 universal");
  });
});

test("an extension's id is a stable UUID", () => {
  expect(stableUuid("acme.collab")).toBe(ID_OF_ACME_COLLAB);
  expect(stableUuid("acme.collab")).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});

/** Clients store it: with another value they would lose the extension. */
const ID_OF_ACME_COLLAB = "b45f7262-b4ae-88d0-96bc-955c0966919a";

test.each([
  undefined,
  null,
  [],
  {},
  { filters: [] },
  { filters: [{ criteria: [{ filterType: "7" }] }] },
])("an invalid query is refused: %j", (body) => {
  expect(querySchema.safeParse(body).success).toBe(false);
});
