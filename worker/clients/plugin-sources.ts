/**
 * Where operators and users get Open Collaboration Tools for the IDEs for which this edge does not offer it. Pure.
 */
import { isOctExtension } from "./companion/package.ts";
import type { Offer } from "./formats/scan.ts";

export interface PluginSource {
  readonly ide: "vscode" | "intellij" | "theia" | "eclipse";
  /** Names of the IDEs. */
  readonly name: string;
  readonly where: string;
  /** Pages to download it from. */
  readonly links: readonly { readonly title: string; readonly url: string }[];
  /** Where in the clients folder its file belongs; undefined when there is nothing to put there. */
  readonly file?: string;
}

const VSCODE: PluginSource = {
  ide: "vscode",
  name: "VS Code and compatible IDEs",
  where: "extension typefox.open-collaboration-tools",
  links: [
    {
      title: "Marketplace",
      url: "https://marketplace.visualstudio.com/items?itemName=typefox.open-collaboration-tools",
    },
    {
      title: "Open VSX",
      url: "https://open-vsx.org/extension/typefox/open-collaboration-tools",
    },
  ],
  file: "vscode/*.vsix",
};

const INTELLIJ: PluginSource = {
  ide: "intellij",
  name: "JetBrains IDEs",
  where: "plugin 32650, for build 252.28539 (2025.2) and later",
  links: [{ title: "JetBrains Marketplace", url: "https://plugins.jetbrains.com/plugin/32650" }],
  file: "intellij/*.zip",
};

const THEIA: PluginSource = {
  ide: "theia",
  name: "Theia",
  where: "built in (@theia/collaboration); set COLLABORATION_SERVER_URL to the URL of this server",
  links: [],
};

const ECLIPSE: PluginSource = {
  ide: "eclipse",
  name: "Eclipse",
  where: "no plugin yet; people join in the browser",
  links: [],
};

/** Of each IDE without an offered Open Collaboration Tools plugin. Empty when both plugins that exist are offered. */
export function missingPlugins({ vscode, intellij, eclipse }: Offer): readonly PluginSource[] {
  const missing = [
    ...(vscode.some(isOctExtension) ? [] : [VSCODE]),
    ...(intellij.some(({ id }) => /^org\.typefox\./i.test(id)) ? [] : [INTELLIJ]),
  ];
  if (missing.length === 0) return [];
  return [...missing, THEIA, ...(eclipse === undefined ? [ECLIPSE] : [])];
}

/** A line of plain text for terminals. */
export function describeSource({ name, where, links, file }: PluginSource): string {
  const titles = links.map(({ title }) => title).join(", ");
  const place = titles === "" ? where : `${where} (${titles})`;
  return `${name}: ${place}${file === undefined ? "" : `; belongs in ${file}`}`;
}
