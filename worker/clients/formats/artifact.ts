/**
 * A plugin build for one IDE, as read from its archive. The schemas validate the facts that are kept in the index file between
 * two runs.
 */
import { z } from "zod";

/** The families of IDEs, as named in folders and URLs. */
export type Ide = "vscode" | "intellij" | "eclipse";

export interface ArtifactFile {
  /** Name within its folder, and in URLs. */
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** Longer texts are truncated: they are only displayed. */
export const MAX_TEXT_CHARS = 32 * 1024;

const text = z.string().max(MAX_TEXT_CHARS);
/** Of names, addresses and the like. */
export const MAX_SHORT_CHARS = 1024;
const shortText = z.string().max(MAX_SHORT_CHARS);

const vscodeFactsSchema = z.object({
  ide: z.literal("vscode"),
  publisher: shortText,
  name: shortText,
  /** Semantic version. */
  version: shortText,
  /** `universal`, or a platform like `linux-x64`. */
  targetPlatform: shortText,
  preRelease: z.boolean(),
  displayName: shortText,
  description: text,
  categories: z.array(shortText),
  tags: z.array(shortText),
  /** From the manifest, for clients: engine, dependencies, kinds. */
  properties: z.array(z.object({ key: shortText, value: text })),
  assets: z.record(shortText, shortText),
});

const intellijFactsSchema = z.object({
  ide: z.literal("intellij"),
  id: shortText,
  name: shortText,
  version: shortText,
  sinceBuild: shortText.exactOptional(),
  untilBuild: shortText.exactOptional(),
  vendor: z.object({ name: shortText, email: shortText, url: shortText }),
  description: text,
  changeNotes: text,
  depends: z.array(shortText),
  /** SVG. */
  icon: text.exactOptional(),
});

const featureFactsSchema = z.object({
  ide: z.literal("eclipse"),
  id: shortText,
  label: shortText,
  version: shortText,
});

const factsSchema = z.discriminatedUnion("ide", [
  vscodeFactsSchema,
  intellijFactsSchema,
  featureFactsSchema,
]);

export type VscodeFacts = z.infer<typeof vscodeFactsSchema>;
export type IntellijFacts = z.infer<typeof intellijFactsSchema>;
/** A feature of an Eclipse repository: what users select for installation. */
export type FeatureFacts = z.infer<typeof featureFactsSchema>;
export type Facts = z.infer<typeof factsSchema>;

export type Artifact<F extends Facts = Facts> = F & { readonly file: ArtifactFile };
export type VscodeArtifact = Artifact<VscodeFacts>;
export type IntellijArtifact = Artifact<IntellijFacts>;
export type EclipseFeature = Artifact<FeatureFacts>;

/** What was read from one file in the state `stamp`. */
export const cachedFileSchema = z.union([
  z.object({ stamp: z.string(), facts: factsSchema }),
  z.object({ stamp: z.string(), reason: z.string() }),
]);
export type CachedFile = z.infer<typeof cachedFileSchema>;

/** `publisher.name`. VS Code compares it case-insensitively. */
export function extensionId(extension: Pick<VscodeFacts, "publisher" | "name">): string {
  return `${extension.publisher}.${extension.name}`;
}

export function cutText(value: string, max = MAX_TEXT_CHARS): string {
  return value.length > max ? value.slice(0, max) : value;
}

/** Empty without a value. */
export function cutShort(value: string | undefined): string {
  return cutText(value ?? "", MAX_SHORT_CHARS);
}
