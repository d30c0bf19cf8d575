/**
 * One plugin on the page at /clients: what it is, and its files with their sizes and digests. Pure.
 */

import { type Html, html } from "../../http/html.ts";
import type { ArtifactFile, Ide, IntellijArtifact, VscodeArtifact } from "../formats/artifact.ts";

export interface CardContext {
  /** The path of this server, for links within the page. */
  readonly basePath: string;
  /** Undefined until it is computed. */
  readonly digestOf: (file: ArtifactFile) => string | undefined;
  /** Path of an extension's icon; undefined when it has none. */
  readonly iconOf: (artifact: VscodeArtifact | IntellijArtifact) => string | undefined;
}

export interface Row {
  readonly version: string;
  readonly cells: readonly (string | Html)[];
  readonly file: ArtifactFile;
}

export function pluginCard(
  content: CardContext,
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
  content: CardContext,
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
