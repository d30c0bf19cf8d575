/**
 * The page at /clients: how to install and update plugins in each IDE, and the list of offered plugins. Pure.
 */
import semver from "semver";
import { groupBy } from "../../../shared/base/grouping.ts";
import { type Html, html } from "../../http/html.ts";
import type { CompanionState } from "../companion/companion.ts";
import { isCompanion } from "../companion/package.ts";
import type { EclipseFeature, IntellijArtifact, VscodeArtifact } from "../formats/artifact.ts";
import { extensionId } from "../formats/artifact.ts";
import type { Offer } from "../formats/scan.ts";
import { compareOsgiVersions, compareVersions } from "../formats/versions.ts";
import { missingPlugins, type PluginSource } from "../plugin-sources.ts";
import { companionSection } from "./companion-section.ts";
import { type CardContext, pluginCard } from "./plugin-card.ts";

export interface PageContent extends CardContext {
  readonly offer: Offer;
  readonly companion: CompanionState;
  /** The URL of this server as the browser reaches it, without a trailing slash. */
  readonly baseUrl: string;
  readonly owner: string;
}

export function clientsPage(content: PageContent): string {
  const { offer, basePath, owner } = content;
  const isEmpty =
    offer.vscode.every(isCompanion) && offer.intellij.length === 0 && offer.eclipse === undefined;
  const missing = missingPlugins(offer);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="${basePath}/login.svg">
<title>Plugins for your IDE</title>
<link rel="stylesheet" href="${basePath}/clients/clients.css">
</head>
<body>
<header>
<h1>Plugins for your IDE</h1>
<p>Install a plugin once; your IDE then gets updates from this server${owner !== "Unknown" && html` (${owner})`}.</p>
<nav aria-label="IDEs">
<a href="#vscode">VS Code</a>
<a href="#intellij">JetBrains</a>
<a href="#eclipse">Eclipse</a>
<a href="#companion">Companion</a>
</nav>
</header>
<main>
${isEmpty && emptyNote()}
${missing.length > 0 && sourcesSection(missing)}
${vscodeSection(content)}
${intellijSection(content)}
${eclipseSection(content)}
${companionSection(content)}
</main>
</body>
</html>
`.text;
}

function emptyNote(): Html {
  return html`<section class="note">
<h2>No plugins yet</h2>
<p>To offer plugins, put their files into the server's clients folder (<code>CT_CLIENTS_DIR</code>):
<code>vscode/*.vsix</code>, <code>intellij/*.zip</code>, and an Eclipse repository as <code>eclipse/</code>.
They appear here within seconds. If a file does not appear, run <code>ct-edge clients check</code> to see why.</p>
</section>`;
}

/** Where the plugins that are not offered here come from. */
function sourcesSection(missing: readonly PluginSource[]): Html {
  return html`<section id="sources">
<h2>Where to get Open Collaboration Tools</h2>
<p>This server does not offer the plugin for these IDEs:</p>
<dl>${missing.map(
    ({ name, where, links, file }) => html`<dt>${name}</dt>
<dd>${where}${links.map(({ title, url }) => html` · <a href="${url}">${title}</a>`)}
${file !== undefined && html`<span class="none">To offer it here, put it into the clients folder as <code>${file}</code>.</span>`}</dd>
`,
  )}</dl>
</section>`;
}

function noneNote(folder: string): Html {
  return html`<p class="none">No plugins for these IDEs yet (folder <code>${folder}</code>).</p>`;
}

// --- VS Code and compatible IDEs ---

function vscodeSection(content: PageContent): Html {
  const { offer, baseUrl } = content;
  const serviceUrl = `${baseUrl}/clients/vscode/gallery`;
  const itemUrl = `${baseUrl}/clients`;
  const own = offer.vscode.filter((extension) => !isCompanion(extension));
  const [first] = own;
  const id = first === undefined ? "publisher.name" : extensionId(first);
  const file = first?.file.name ?? "file.vsix";
  return html`<section id="vscode">
<h2>VS Code, VSCodium, code-server</h2>
<h3>VSCodium</h3>
<ol>
<li>Set these environment variables, or put the URLs into <code>extensionsGallery</code> in product.json:
<pre>VSCODE_GALLERY_SERVICE_URL=${serviceUrl}
VSCODE_GALLERY_ITEM_URL=${itemUrl}</pre></li>
<li>Install and update in the Extensions view, or run <code>codium --install-extension ${id}</code>.</li>
</ol>
<h3>code-server</h3>
<ol>
<li>Set this environment variable:
<pre>EXTENSIONS_GALLERY='${JSON.stringify({ serviceUrl, itemUrl })}'</pre></li>
<li>Install and update in the Extensions view, or run <code>code-server --install-extension ${id}</code>.</li>
</ol>
<h3>Microsoft VS Code</h3>
<ol>
<li>Download the .vsix file below.</li>
<li>Run <code>code --install-extension ${file}</code>, or use <em>Extensions › … › Install from VSIX</em>.</li>
</ol>
<p class="requirements">Microsoft VS Code gets updates only from its own marketplace, so repeat this for each new version. If it
rejects the file's signature, set <code>"extensions.verifySignature": false</code>. If this server's certificate comes from a
private CA, code-server needs <code>NODE_EXTRA_CA_CERTS</code>.</p>
${own.length === 0 ? noneNote("vscode/") : extensions(content, own)}
</section>`;
}

function extensions(content: PageContent, offered: readonly VscodeArtifact[]): readonly Html[] {
  const groups = groupsOf(offered, (extension) => extensionId(extension).toLowerCase());
  return groups
    .map((builds) => {
      const sorted = [...builds].sort(
        (a, b) =>
          semver.rcompare(a.version, b.version) || (a.targetPlatform < b.targetPlatform ? -1 : 1),
      );
      const newest = sorted.find(({ preRelease }) => !preRelease) ?? sorted[0];
      return (
        newest &&
        pluginCard(content, newest, {
          title: newest.displayName,
          id: extensionId(newest),
          text: newest.description,
          columns: ["Version", "Platform"],
          newestVersion: sorted[0]?.version,
          rows: sorted.map((build) => ({
            version: build.version,
            cells: [
              html`${build.version}${build.preRelease && html` <span class="tag">pre-release</span>`}`,
              build.targetPlatform === "universal" ? "any" : build.targetPlatform,
            ],
            file: build.file,
          })),
        })
      );
    })
    .filter((shown) => shown !== undefined);
}

// --- JetBrains ---

function intellijSection(content: PageContent): Html {
  const { offer, baseUrl, basePath } = content;
  const url = `${baseUrl}/clients/intellij/updatePlugins.xml`;
  return html`<section id="intellij">
<h2>IntelliJ IDEA and other JetBrains IDEs</h2>
<ol>
<li>Open <em>Settings › Plugins › ⚙ › Manage Plugin Repositories</em> and add
<pre><a href="${basePath}/clients/intellij/updatePlugins.xml">${url}</a></pre></li>
<li>Install the plugin from the <em>Marketplace</em> tab; the IDE then offers updates by itself.</li>
</ol>
<p class="requirements">To configure many machines, set the VM option <code>-Didea.plugin.hosts=${url}</code>. The IDE asks once
before it installs an unsigned plugin; add the certificate of a signed one under <em>Manage Plugin Certificates</em>.
The IDE needs HTTPS with a certificate that it trusts (<em>Settings › Tools › Server Certificates</em>).
Without a repository, download the file below and use <em>Install Plugin from Disk</em>.</p>
${offer.intellij.length === 0 ? noneNote("intellij/") : plugins(content)}
</section>`;
}

function plugins(content: PageContent): readonly Html[] {
  return groupsOf(content.offer.intellij, ({ id }) => id).flatMap((builds) => {
    const sorted = [...builds].sort((a, b) => compareVersions(b.version, a.version));
    const [newest] = sorted;
    if (newest === undefined) return [];
    const shown = pluginCard(content, newest, {
      title: newest.name,
      id: newest.id,
      text: newest.vendor.name === "" ? "" : `by ${newest.vendor.name}`,
      columns: ["Version", "Builds"],
      newestVersion: newest.version,
      rows: sorted.map((build) => ({
        version: build.version,
        cells: [build.version, buildRange(build)],
        file: build.file,
      })),
    });
    return [shown];
  });
}

function buildRange({ sinceBuild, untilBuild }: IntellijArtifact): string {
  if (sinceBuild === undefined && untilBuild === undefined) return "any";
  return `${sinceBuild ?? "…"} – ${untilBuild ?? "…"}`;
}

// --- Eclipse ---

function eclipseSection(content: PageContent): Html {
  const { offer, baseUrl } = content;
  const url = `${baseUrl}/clients/eclipse/`;
  return html`<section id="eclipse">
<h2>Eclipse</h2>
<ol>
<li>Open <em>Help › Install New Software… › Add…</em> and enter this location:
<pre>${url}</pre></li>
<li>Select the feature, install it and restart; <em>Help › Check for Updates</em> finds new versions.</li>
</ol>
<p class="requirements">Eclipse needs <strong>HTTPS with a certificate that its Java trusts</strong>: it rewrites every http:// address
to https:// unless it was started with <code>-vmargs -Dp2.httpRule=allow</code>.${
    baseUrl.startsWith("http://") &&
    html` This page was loaded over plain HTTP: use the server's HTTPS address.`
  }</p>
${offer.eclipse === undefined ? noneNote("eclipse/") : features(offer.eclipse.features)}
</section>`;
}

function features(all: readonly EclipseFeature[]): Html {
  if (all.length === 0) {
    return html`<p class="none">Eclipse lists the features of this repository when you add the location.</p>`;
  }
  const sorted = [...all].sort((a, b) =>
    a.id < b.id ? -1 : a.id > b.id ? 1 : compareOsgiVersions(b.version, a.version),
  );
  return html`<article><div class="scroll"><table>
<thead><tr><th>Feature</th><th>Id</th><th>Version</th></tr></thead>
<tbody>${sorted.map(
    ({ label, id, version }) =>
      html`<tr><td>${label}</td><td><code>${id}</code></td><td>${version}</td></tr>
`,
  )}</tbody>
</table></div></article>`;
}

/** Sorted by their keys. */
function groupsOf<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = [...groupBy(items, keyOf)];
  return groups.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}
