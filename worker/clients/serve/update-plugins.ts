/**
 * `updatePlugins.xml`, the index of a plugin repository for JetBrains IDEs. Pure.
 */
import { XMLBuilder } from "fast-xml-parser";
import type { IntellijArtifact } from "../formats/artifact.ts";
import { compareVersions, fitsBuild, isBuild } from "../formats/versions.ts";

/** Clients reach a server by few names; entries for further ones are not cached. */
const MAX_FOLDER_URLS = 16;

export function createUpdateList(plugins: readonly IntellijArtifact[]) {
  /** Rendered entries by `folderUrl`: most requests need most of them. */
  const entriesByUrl = new Map<string, Map<IntellijArtifact, string>>();

  function entriesOf(folderUrl: string): Map<IntellijArtifact, string> {
    const cached = entriesByUrl.get(folderUrl);
    if (cached !== undefined) return cached;
    const entries = new Map<IntellijArtifact, string>();
    if (entriesByUrl.size < MAX_FOLDER_URLS) entriesByUrl.set(folderUrl, entries);
    return entries;
  }

  return {
    /**
     * The list for an IDE build: of each plugin the newest compatible version. Without a valid build, of each plugin the newest
     * version. `folderUrl`: where the files are, absolute and with a trailing slash.
     */
    xml(build: string | undefined, folderUrl: string): string {
      const cached = entriesOf(folderUrl);
      const entries = newestOfEach(plugins, build).map((plugin) => {
        const entry = cached.get(plugin) ?? describe(plugin, folderUrl);
        cached.set(plugin, entry);
        return entry;
      });
      const list = entries.length === 0 ? "<plugins/>" : `<plugins>\n${entries.join("")}</plugins>`;
      return `<?xml version="1.0" encoding="UTF-8"?>\n${list}\n`;
    },
  };
}

const builder = new XMLBuilder({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  format: true,
  suppressEmptyNode: true,
});

function describe(plugin: IntellijArtifact, folderUrl: string): string {
  const { sinceBuild, untilBuild, vendor } = plugin;
  return builder.build({
    plugin: {
      "@id": clean(plugin.id),
      "@url": folderUrl + encodeURIComponent(plugin.file.name),
      "@version": clean(plugin.version),
      "idea-version": {
        ...(sinceBuild && { "@since-build": clean(sinceBuild) }),
        ...(untilBuild && { "@until-build": clean(untilBuild) }),
      },
      name: clean(plugin.name),
      ...(vendor.name && {
        vendor: {
          ...(vendor.email && { "@email": clean(vendor.email) }),
          ...(vendor.url && { "@url": clean(vendor.url) }),
          "#text": clean(vendor.name),
        },
      }),
      ...(plugin.description && { description: clean(plugin.description) }),
      ...(plugin.changeNotes && { "change-notes": clean(plugin.changeNotes) }),
      ...(plugin.depends.length > 0 && { depends: plugin.depends.map(clean) }),
    },
  });
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

/** Removes characters that XML does not allow even as references (XML 1.0 §2.2). */
function clean(text: string): string {
  return text.replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "");
}
