/** The frame of all screens but the workspace: one card with a title that takes the focus, as a new page would. */
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Mark } from "../panels/controls/icon.tsx";

export const PRODUCT = "CodeTogether edge";

export function Page(props: {
  title: string;
  lead?: ComponentChildren;
  children?: ComponentChildren;
  isWide?: boolean;
}): JSX.Element {
  const { title, lead, children, isWide = false } = props;
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    document.title = title === PRODUCT ? title : `${title} – ${PRODUCT}`;
    const { activeElement } = document;
    // A field of this page may have it already.
    if (activeElement === null || activeElement === document.body) heading.current?.focus();
  }, [title]);
  return (
    <div class={isWide ? "page wide" : "page"}>
      <main>
        <header class="page-head">
          <Mark />
          <div>
            <h1 ref={heading} tabIndex={-1}>
              {title}
            </h1>
            {lead !== undefined && <p class="muted">{lead}</p>}
          </div>
        </header>
        {children}
      </main>
    </div>
  );
}
