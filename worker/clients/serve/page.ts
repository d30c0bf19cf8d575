/**
 * The page at /clients: how to install and update plugins in each IDE, and the list of offered plugins. Pure.
 */
import semver from "semver";
import type {
  ArtifactFile,
  EclipseFeature,
  Ide,
  IntellijArtifact,
  VscodeArtifact,
} from "../formats/artifact.ts";
import { extensionId } from "../formats/artifact.ts";
import type { Offer } from "../formats/scan.ts";
import { compareOsgiVersions, compareVersions } from "../formats/versions.ts";
import { type Html, html } from "./html.ts";

export interface PageContent {
  readonly offer: Offer;
  /** The URL of this server as the browser reaches it, without a trailing slash. */
  readonly baseUrl: string;
  /** The path of `baseUrl`, for links within the page. */
  readonly basePath: string;
  readonly owner: string;
  /** Undefined until it is computed. */
  readonly digestOf: (file: ArtifactFile) => string | undefined;
  /** Path of an extension's icon; undefined when it has none. */
  readonly iconOf: (artifact: VscodeArtifact | IntellijArtifact) => string | undefined;
}

export function clientsPage(content: PageContent): string {
  const { offer, basePath, owner } = content;
  const isEmpty =
    offer.vscode.length === 0 && offer.intellij.length === 0 && offer.eclipse === undefined;
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
</nav>
</header>
<main>
${isEmpty && emptyNote()}
${vscodeSection(content)}
${intellijSection(content)}
${eclipseSection(content)}
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

function noneNote(folder: string): Html {
  return html`<p class="none">No plugins for these IDEs yet (folder <code>${folder}</code>).</p>`;
}

// --- VS Code and compatible IDEs ---

function vscodeSection(content: PageContent): Html {
  const { offer, baseUrl } = content;
  const serviceUrl = `${baseUrl}/clients/vscode/gallery`;
  const itemUrl = `${baseUrl}/clients`;
  const [first] = offer.vscode;
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
${offer.vscode.length === 0 ? noneNote("vscode/") : extensions(content)}
</section>`;
}

function extensions(content: PageContent): readonly Html[] {
  const groups = groupBy(content.offer.vscode, (extension) => extensionId(extension).toLowerCase());
  return groups
    .map((builds) => {
      const sorted = [...builds].sort(
        (a, b) =>
          semver.rcompare(a.version, b.version) || (a.targetPlatform < b.targetPlatform ? -1 : 1),
      );
      const newest = sorted.find(({ preRelease }) => !preRelease) ?? sorted[0];
      return (
        newest &&
        card(content, newest, {
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
  return groupBy(content.offer.intellij, ({ id }) => id).flatMap((builds) => {
    const sorted = [...builds].sort((a, b) => compareVersions(b.version, a.version));
    const [newest] = sorted;
    if (newest === undefined) return [];
    const shown = card(content, newest, {
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

// --- one plugin ---

interface Row {
  readonly version: string;
  readonly cells: readonly (string | Html)[];
  readonly file: ArtifactFile;
}

function card(
  content: PageContent,
  newest: VscodeArtifact | IntellijArtifact,
  shown: {
    readonly title: string;
    readonly id: string;
    readonly text: string;
    readonly columns: readonly string[];
    readonly newestVersion: string | undefined;
    readonly rows: readonly Row[];
  },
): Html {
  const { title, id, text, columns, rows, newestVersion } = shown;
  const icon = content.iconOf(newest);
  const current = rows.filter(
    ({ version }) => version === newestVersion || version === newest.version,
  );
  const older = rows.filter((row) => !current.includes(row));
  return html`<article>
<div class="about">
${icon === undefined ? html`<span class="icon"></span>` : html`<img class="icon" src="${icon}" alt="" width="48" height="48" loading="lazy">`}
<div><h3>${title}</h3><p><code>${id}</code></p>${text !== "" && html`<p>${text}</p>`}</div>
</div>
${files(content, newest.ide, columns, current)}
${older.length > 0 && html`<details><summary>Older versions (${older.length})</summary>${files(content, newest.ide, columns, older)}</details>`}
</article>`;
}

function files(
  content: PageContent,
  ide: Exclude<Ide, "eclipse">,
  columns: readonly string[],
  rows: readonly Row[],
): Html {
  const { basePath, digestOf } = content;
  return html`<div class="scroll"><table>
<thead><tr>${columns.map((column) => html`<th>${column}</th>`)}<th>Size</th><th>File and SHA-256</th></tr></thead>
<tbody>${rows.map(
    ({
      cells,
      file,
    }) => html`<tr>${cells.map((cell) => html`<td>${cell}</td>`)}<td class="number">${size(file.bytes)}</td>
<td><a href="${basePath}/clients/${ide}/${encodeURIComponent(file.name)}">${file.name}</a>
<code class="digest">${digestOf(file) ?? "(computing…)"}</code></td></tr>
`,
  )}</tbody>
</table></div>`;
}

/** `20971520` is `20.0 MiB`. */
function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [unit, divisor] = bytes < 1024 ** 2 ? ["KiB", 1024] : ["MiB", 1024 ** 2];
  return `${(bytes / Number(divisor)).toFixed(1)} ${unit}`;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}
