/**
 * The extension gallery for VS Code and compatible IDEs: answers the queries of the marketplace protocol from the offered
 * extensions. Pure.
 */
import { createHash } from "node:crypto";
import semver from "semver";
import { z } from "zod";
import { groupBy } from "../../../shared/base/grouping.ts";
import { extensionId, type VscodeArtifact } from "../formats/artifact.ts";

export interface Wanted {
  readonly publisher: string;
  readonly name: string;
  readonly version: string;
  readonly targetPlatform?: string | undefined;
}

/** What a response needs besides the offered extensions. */
export interface Context {
  /** Absolute base URL of an extension's assets, as the client reaches this server. */
  assetsUrl(extension: VscodeArtifact): string;
  /** Downloads by `publisher.name`. */
  readonly downloads: ReadonlyMap<string, number>;
}

// --- queries ---

const MAX_CRITERIA = 2000;
const MAX_PAGE_SIZE = 1000;
const STANDARD_PAGE_SIZE = 50;

const criterionSchema = z.object({
  filterType: z.number(),
  value: z.string().max(1000).optional(),
});
const filterSchema = z.object({
  criteria: z.array(criterionSchema).max(MAX_CRITERIA).default([]),
  pageNumber: z.number().int().catch(1).default(1),
  pageSize: z.number().int().catch(STANDARD_PAGE_SIZE).default(STANDARD_PAGE_SIZE),
  sortBy: z.number().catch(0).default(0),
  sortOrder: z.number().catch(0).default(0),
});
/** Unknown fields and filter types are ignored. */
export const querySchema = z.object({
  filters: z.array(filterSchema).min(1).max(10),
  assetTypes: z.array(z.string()).nullish(),
  flags: z.number().int().catch(0).default(0),
});

export type Query = z.infer<typeof querySchema>;
type Filter = Query["filters"][number];

const FilterType = { tag: 1, id: 4, category: 5, name: 7, target: 8, featured: 9, text: 10 };
const Flag = {
  versions: 0x1,
  files: 0x2,
  categories: 0x4,
  properties: 0x10,
  installationTargets: 0x40,
  assetUri: 0x80,
  statistics: 0x100,
  latestOnly: 0x200,
  latestStableAndPreRelease: 0x10000,
};
const SortBy = { updated: 1, title: 2, publisher: 3, installs: 4, published: 10, publishedOld: 5 };
const ASCENDING = 1;
const DESCENDING = 2;
/** The flags of a response to `…/latest`: everything about the newest versions. */
const LATEST_FLAGS = 0x1 | 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200;
const TARGET = "Microsoft.VisualStudio.Code";

/** All builds of one extension, newest first. */
interface Extension {
  readonly uuid: string;
  readonly builds: readonly VscodeArtifact[];
  /** The newest release, or the newest build if there is no release. */
  readonly newest: VscodeArtifact;
  /** The text to search, in lower case. */
  readonly words: string;
}

export function createGallery(artifacts: readonly VscodeArtifact[]) {
  const byName = new Map<string, Extension>();
  const byUuid = new Map<string, Extension>();
  for (const [name, builds] of groupBy(artifacts, (one) => extensionId(one).toLowerCase())) {
    const extension = describe(name, builds);
    byName.set(name, extension);
    byUuid.set(extension.uuid, extension);
  }
  const all = [...byName.values()];

  return {
    /** Answers `POST …/extensionquery`. */
    query: ({ filters, flags }: Query, context: Context) => ({
      results: filters.map((filter) => {
        const found = sorted(select(filter), filter, context.downloads);
        const { pageSize, start } = pageOf(filter);
        return {
          extensions: found
            .slice(start, start + pageSize)
            .map((extension) => describeExtension(extension, flags, context)),
          pagingToken: null,
          resultMetadata: [
            {
              metadataType: "ResultCount",
              metadataItems: [{ name: "TotalCount", count: found.length }],
            },
          ],
        };
      }),
    }),
    /** The response to `…/latest`: one extension with its newest versions. Undefined when it is not offered. */
    latest(publisher: string, name: string, context: Context): unknown {
      const extension = byName.get(`${publisher}.${name}`.toLowerCase());
      return extension && describeExtension(extension, LATEST_FLAGS, context);
    },
    /**
     * The build of a version for a platform; without a platform, the universal build or the only one. Undefined when there is
     * none. The version `latest` means the newest release with a matching build, else the newest pre-release; for `latest`, a
     * universal build matches every platform.
     */
    find({ publisher, name, version, targetPlatform }: Wanted): VscodeArtifact | undefined {
      const extension = byName.get(`${publisher}.${name}`.toLowerCase());
      const builds = extension?.builds ?? [];
      if (version.toLowerCase() === LATEST) return latestBuild(builds, targetPlatform);
      return buildFor(
        builds.filter((build) => build.version === version),
        targetPlatform,
      );
    },
  };

  /** Criteria that name extensions are combined by OR; a target must match. Without criteria, all extensions match. */
  function select({ criteria }: Filter): Extension[] {
    const targets = criteria.filter(({ filterType }) => filterType === FilterType.target);
    const isOurTarget = targets.every(({ value }) => value?.toLowerCase() === TARGET.toLowerCase());
    if (!isOurTarget) return [];
    const naming = criteria.filter(({ filterType }) => NAMING.has(filterType));
    if (naming.length === 0) return all;
    const found = new Set<Extension>();
    for (const { filterType, value = "" } of naming) {
      for (const extension of matching(filterType, value)) found.add(extension);
    }
    return [...found];
  }

  function matching(filterType: number, value: string): readonly Extension[] {
    const wanted = value.trim().toLowerCase();
    const hasWord = (list: readonly string[]): boolean =>
      list.some((word) => word.toLowerCase() === wanted);
    switch (filterType) {
      case FilterType.id:
        return present(byUuid.get(wanted));
      case FilterType.name:
        return present(byName.get(wanted));
      case FilterType.tag:
        return all.filter(({ newest }) => hasWord(newest.tags));
      case FilterType.category:
        return all.filter(({ newest }) => hasWord(newest.categories));
      case FilterType.text: {
        const words = wanted.split(/\s+/);
        return all.filter((extension) => words.every((word) => extension.words.includes(word)));
      }
      default:
        // `featured`, and unknown types.
        return [];
    }
  }
}

/** Takes the place of a version in download URLs, as in the public marketplace. */
const LATEST = "latest";

/** `builds`: newest first. */
function latestBuild(
  builds: readonly VscodeArtifact[],
  targetPlatform: string | undefined,
): VscodeArtifact | undefined {
  const releases = builds.filter((build) => !build.preRelease);
  for (const { version } of [...releases, ...builds]) {
    const ofVersion = builds.filter((build) => build.version === version);
    const found = buildFor(ofVersion, targetPlatform) ?? buildFor(ofVersion, "universal");
    if (found !== undefined) return found;
  }
  return undefined;
}

function buildFor(
  builds: readonly VscodeArtifact[],
  targetPlatform: string | undefined,
): VscodeArtifact | undefined {
  const wanted = targetPlatform ?? "universal";
  const exact = builds.find((build) => build.targetPlatform === wanted);
  if (exact !== undefined || targetPlatform !== undefined) return exact;
  return builds.length === 1 ? builds[0] : undefined;
}

const NAMING: ReadonlySet<number> = new Set([
  FilterType.tag,
  FilterType.id,
  FilterType.category,
  FilterType.name,
  FilterType.featured,
  FilterType.text,
]);

function describe(name: string, artifacts: readonly VscodeArtifact[]): Extension {
  const builds = [...artifacts].sort(
    (a, b) =>
      semver.compareBuild(b.version, a.version) || (a.targetPlatform < b.targetPlatform ? -1 : 1),
  );
  // The newest release describes the extension, even if there is a newer pre-release.
  const newest = builds.find((build) => !build.preRelease) ?? builds[0];
  if (newest === undefined) throw new Error("an extension without a build");
  const { displayName, description, tags } = newest;
  const words = [name, displayName, description, ...tags].join("\n").toLowerCase();
  return { uuid: stableUuid(name), builds, newest, words };
}

/** Clients identify an extension by it, so it must be the same on every worker and never change (RFC 9562 §5.8). */
export function stableUuid(name: string): string {
  const hash = createHash("sha256").update(`vscode-extension\n${name}`).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, "$1-$2-$3-$4-$5");
}

function present<T>(value: T | undefined): readonly T[] {
  return value === undefined ? [] : [value];
}

// --- order and pages ---

/** Default order: dates and numbers descending, names ascending. */
function sorted(
  extensions: readonly Extension[],
  { sortBy, sortOrder }: Filter,
  downloads: Context["downloads"],
): Extension[] {
  const byTitle: Order = (a, b) =>
    a.newest.displayName.localeCompare(b.newest.displayName) || (a.uuid < b.uuid ? -1 : 1);
  const byPublisher: Order = (a, b) => a.newest.publisher.localeCompare(b.newest.publisher);
  const byDate: Order = (a, b) => updatedMs(b) - updatedMs(a);
  const installs = ({ newest }: Extension): number => downloads.get(extensionId(newest)) ?? 0;
  const byInstalls: Order = (a, b) => installs(b) - installs(a);
  const orders: Readonly<Record<number, { readonly order: Order; readonly usual: number }>> = {
    [SortBy.title]: { order: byTitle, usual: ASCENDING },
    [SortBy.publisher]: { order: byPublisher, usual: ASCENDING },
    [SortBy.updated]: { order: byDate, usual: DESCENDING },
    [SortBy.published]: { order: byDate, usual: DESCENDING },
    [SortBy.publishedOld]: { order: byDate, usual: DESCENDING },
    [SortBy.installs]: { order: byInstalls, usual: DESCENDING },
  };
  const { order, usual } = orders[sortBy] ?? { order: byTitle, usual: ASCENDING };
  const wanted = sortOrder === ASCENDING || sortOrder === DESCENDING ? sortOrder : usual;
  const direction = wanted === usual ? 1 : -1;
  return [...extensions].sort((a, b) => direction * order(a, b) || byTitle(a, b));
}

type Order = (a: Extension, b: Extension) => number;

function updatedMs({ builds }: Extension): number {
  return Math.max(...builds.map(({ file }) => file.mtimeMs));
}

function pageOf({ pageNumber, pageSize }: Filter): { pageSize: number; start: number } {
  const size = Math.min(MAX_PAGE_SIZE, Math.max(1, pageSize));
  return { pageSize: size, start: Math.max(0, pageNumber - 1) * size };
}

// --- responses ---

function describeExtension(extension: Extension, flags: number, context: Context): unknown {
  const { uuid, builds, newest } = extension;
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const times = builds.map(({ file }) => file.mtimeMs);
  return {
    extensionId: uuid,
    extensionName: newest.name,
    displayName: newest.displayName,
    shortDescription: newest.description,
    publisher: {
      publisherId: stableUuid(`publisher ${newest.publisher.toLowerCase()}`),
      publisherName: newest.publisher,
      displayName: newest.publisher,
      flags: "",
      domain: null,
      isDomainVerified: false,
    },
    flags: "validated, public",
    deploymentType: 0,
    lastUpdated: isoTime(Math.max(...times)),
    publishedDate: isoTime(Math.min(...times)),
    releaseDate: isoTime(Math.min(...times)),
    versions: selectBuilds(builds, flags).map((build) => describeBuild(build, flags, context)),
    statistics: has(Flag.statistics)
      ? [{ statisticName: "install", value: context.downloads.get(extensionId(newest)) ?? 0 }]
      : [],
    ...(has(Flag.categories) && { categories: newest.categories, tags: newest.tags }),
    ...(has(Flag.installationTargets) && {
      installationTargets: [{ target: TARGET, targetVersion: "" }],
    }),
  };
}

/**
 * The newest build per platform: a client takes the first that matches its own. If that is a pre-release, clients that want
 * releases query all versions afterwards, or set `latestStableAndPreRelease` at once.
 */
function selectBuilds(builds: readonly VscodeArtifact[], flags: number): readonly VscodeArtifact[] {
  const isPerKind = (flags & Flag.latestStableAndPreRelease) !== 0;
  if (!isPerKind && (flags & Flag.latestOnly) === 0) {
    return (flags & Flag.versions) === 0 ? [] : builds;
  }
  const seen = new Set<string>();
  return builds.filter(({ targetPlatform, preRelease }) => {
    const kind = isPerKind ? `${targetPlatform} ${preRelease}` : targetPlatform;
    if (seen.has(kind)) return false;
    seen.add(kind);
    return true;
  });
}

/** The asset that is the .vsix file itself. */
export const PACKAGE_ASSET = "Microsoft.VisualStudio.Services.VSIXPackage";

function describeBuild(build: VscodeArtifact, flags: number, context: Context): unknown {
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const base = context.assetsUrl(build);
  const types = [...Object.keys(build.assets), PACKAGE_ASSET];
  return {
    version: build.version,
    // A universal build has no targetPlatform.
    ...(build.targetPlatform !== "universal" && { targetPlatform: build.targetPlatform }),
    flags: "validated",
    lastUpdated: isoTime(build.file.mtimeMs),
    ...(has(Flag.files) && {
      files: types.map((assetType) => ({ assetType, source: `${base}/${assetType}` })),
    }),
    ...(has(Flag.properties) && { properties: build.properties }),
    ...(has(Flag.assetUri) && { assetUri: base, fallbackAssetUri: base }),
  };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
