/** Joins the same session from an IDE: links that open it there, and what to copy for IDEs without such links. */
import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { IDE_LINK_NOTE, ideCopies, ideLinks, type SharedSession } from "../model/ide-links.ts";
import { CopyField } from "../panels/controls/copy.tsx";

export function OpenInIde({ session }: { session: SharedSession }): JSX.Element {
  const id = useId();
  return (
    <section class="open-in-ide" aria-labelledby={id}>
      <h2 id={id}>Or open it in your IDE</h2>
      <ul class="ide-links">
        {ideLinks(session.invitation).map(({ label, href }) => (
          <li key={href}>
            <a class="button" href={href}>
              {label}
            </a>
          </li>
        ))}
      </ul>
      <p class="muted small">{IDE_LINK_NOTE}</p>
      <details>
        <summary>JetBrains IDEs, Theia, older extensions</summary>
        {ideCopies(session).map(({ label, text, note }) => (
          <div key={label}>
            <CopyField label={label} text={text} />
            <p class="muted small">{note}</p>
          </div>
        ))}
      </details>
    </section>
  );
}
