/** Which rows of a long list are in view. */
import { useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";

/** Rows beside those in view, so that scrolling shows no gaps. */
const OVERSCAN = 8;

/**
 * `rowHeight` in pixels: the style sheet's `--row`, which is larger for fingers. `first`, `last`: the first row to render, and
 * the one after the last; the list may be shorter.
 */
export function useRowWindow(view: { readonly current: HTMLElement | null }) {
  const rowHeight = useSignal(28);
  const scrollTop = useSignal(0);
  const height = useSignal(1_000);
  useLayoutEffect(() => {
    const element = view.current;
    if (!element) return undefined;
    const measure = (): void => {
      const declared = getComputedStyle(element).getPropertyValue("--row");
      rowHeight.value = Number.parseFloat(declared) || 28;
      height.value = element.clientHeight;
    };
    const onScroll = (): void => {
      scrollTop.value = element.scrollTop;
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    measure();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [view, rowHeight, scrollTop, height]);
  // Computed apart, so that most scroll events render nothing.
  const first = useComputed(() => Math.floor(scrollTop.value / rowHeight.value) - OVERSCAN);
  const last = useComputed(
    () => Math.ceil((scrollTop.value + height.value) / rowHeight.value) + OVERSCAN,
  );
  return { rowHeight: rowHeight.value, first: Math.max(0, first.value), last: last.value };
}

/** Scrolls as little as is needed. */
export function scrollToRow(element: HTMLElement, index: number, rowHeight: number): void {
  const top = index * rowHeight;
  const bottom = top + rowHeight;
  if (top < element.scrollTop) element.scrollTop = top;
  else if (bottom > element.scrollTop + element.clientHeight) {
    element.scrollTop = bottom - element.clientHeight;
  }
}
