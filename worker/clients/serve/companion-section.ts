/**
 * The section of the page at /clients about the companion extension: what it does and how to install it, or why it is not
 * offered. Pure.
 */

import { type Html, html } from "../../http/html.ts";
import type { CompanionState } from "../companion/companion.ts";
import { COMPANION_ID, companionSettings, dependencyOf } from "../companion/package.ts";
import { extensionId, type VscodeArtifact } from "../formats/artifact.ts";
import type { Offer } from "../formats/scan.ts";
import { type CardContext, pluginCard } from "./plugin-card.ts";

interface SectionContent extends CardContext {
  readonly offer: Offer;
  readonly companion: CompanionState;
  readonly baseUrl: string;
}

export function companionSection(content: SectionContent): Html {
  return html`<section id="companion">
<h2>Companion for VS Code</h2>
<p>A small extension that sets the server of <em>Open Collaboration Tools</em> to this one, so that nobody types a URL. It has
no code, only the defaults of two settings; values in a user’s own settings take precedence.</p>
${body(content)}
</section>`;
}

function body(content: SectionContent): Html {
  const { companion } = content;
  switch (companion.state) {
    case "unconfigured":
      return html`<p class="requirements">Not offered yet: this server does not know its own public address. Its operator sets
<code>CT_SERVER_URL</code> to it, as in <code>CT_SERVER_URL=https://edge.example.com</code>, and restarts the server. Until then,
put these lines into the user settings of VS Code:</p>
${settingsText(content.baseUrl)}`;
    case "preparing":
      return html`<p class="none">It is being prepared; reload this page in a few seconds.</p>`;
    case "failed":
      return html`<p class="none">Not offered: this server cannot write it into its data directory (<code>CT_DATA_DIR</code>). Its
log says why.</p>`;
    case "ready":
      return steps(content, companion.artifact);
  }
}

function steps(content: SectionContent, artifact: VscodeArtifact): Html {
  const { offer, baseUrl } = content;
  const dependency = dependencyOf(offer.vscode);
  const isOffered = offer.vscode.some(
    (extension) => extensionId(extension).toLowerCase() === dependency.toLowerCase(),
  );
  return html`<ol>
<li>VSCodium and code-server, set up as above: <code>codium --install-extension ${COMPANION_ID}</code>. They install
<code>${dependency}</code> with it, and update both.</li>
<li>Microsoft VS Code: download the file and run <code>code --install-extension ${artifact.file.name}</code>. Install it again when the
address of this server changes.</li>
</ol>
${
  !isOffered &&
  html`<p class="requirements"><code>${dependency}</code> is not offered here. An IDE that installs from this server cannot get it,
and then refuses the companion: install that extension first.</p>`
}
<p>It sets:</p>
${settingsText(baseUrl)}
${pluginCard(content, artifact, {
  title: artifact.displayName,
  id: extensionId(artifact),
  text: artifact.description,
  columns: ["Version"],
  newestVersion: artifact.version,
  rows: [{ version: artifact.version, cells: [artifact.version], file: artifact.file }],
})}`;
}

function settingsText(serverUrl: string): Html {
  const lines = Object.entries(companionSettings({ serverUrl })).map(
    ([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return html`<pre>${lines.join(",\n")}</pre>`;
}
