/**
 * `updatePlugins.xml`: what JetBrains IDEs read of a plugin repository. Pure.
 */
import { XMLBuilder } from "fast-xml-parser";
import type { IntellijArtifact } from "./artifact.ts";
import { compareVersions, fitsBuild, isBuild } from "./versions.ts";

/**
 * The list for an IDE of that build: of each plugin the newest that is for it. Without a build, or with one that is none,
 * of each plugin the newest. `urlOf` gives the absolute URL of a file.
 */
export function updatePlugins(
  plugins: readonly IntellijArtifact[],
  build: string | undefined,
  urlOf: (plugin: IntellijArtifact) => string,
): string {
  const builder = new XMLBuilder({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    cdataPropName: "#cdata",
    format: true,
    suppressEmptyNode: true,
  });
  const entries = newestOfEach(plugins, build).map((plugin) => ({
    "@id": clean(plugin.id),
    "@url": urlOf(plugin),
    "@version": clean(plugin.version),
    "idea-version": {
      ...(plugin.sinceBuild && { "@since-build": clean(plugin.sinceBuild) }),
      ...(plugin.untilBuild && { "@until-build": clean(plugin.untilBuild) }),
    },
    name: clean(plugin.name),
    ...(plugin.vendor.name && {
      vendor: {
        ...(plugin.vendor.email && { "@email": clean(plugin.vendor.email) }),
        ...(plugin.vendor.url && { "@url": clean(plugin.vendor.url) }),
        "#text": clean(plugin.vendor.name),
      },
    }),
    ...(plugin.description && { description: clean(plugin.description) }),
    ...(plugin.changeNotes && { "change-notes": clean(plugin.changeNotes) }),
    ...(plugin.depends.length > 0 && { depends: plugin.depends.map(clean) }),
  }));
  const list = builder.build({ plugins: entries.length === 0 ? "" : { plugin: entries } });
  return `<?xml version="1.0" encoding="UTF-8"?>\n${list.trim()}\n`;
}

function newestOfEach(
  plugins: readonly IntellijArtifact[],
  build: string | undefined,
): IntellijArtifact[] {
  const newest = new Map<string, IntellijArtifact>();
  for (const plugin of plugins) {
    if (build !== undefined && isBuild(build) && !fitsBuild(build, plugin)) continue;
    const other = newest.get(plugin.id);
    if (other === undefined || compareVersions(plugin.version, other.version) > 0) {
      newest.set(plugin.id, plugin);
    }
  }
  return [...newest.values()];
}

/** Without characters that no XML document may hold, not even escaped (XML 1.0 §2.2). */
function clean(text: string): string {
  return text.replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "");
}
