/** The palette of carets: every name label can be read, in both color schemes. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CARET_COLORS } from "../../worker/web/client/model/session.ts";

const CARETS = readFileSync(
  new URL("../../worker/web/client/panels/carets.css", import.meta.url),
  "utf8",
);
const BASE = readFileSync(new URL("../../worker/web/base.css", import.meta.url), "utf8");

for (const [index, scheme] of ["light", "dark"].entries()) {
  test(`${CARET_COLORS} colors of carets have enough contrast to their labels and to the page in ${scheme} colors`, () => {
    const half = partOf(CARETS, index);
    const [card = "", text = ""] = [
      /--card: (#\w{6})/.exec(partOf(BASE, index))?.[1],
      /--caret-text: (#\w{6})/.exec(half)?.[1],
    ];
    const colors = [...half.matchAll(/\.caret-(\d) \{\s*--caret: (#\w{6})/g)];
    expect(colors.map((match) => match[1])).toEqual(
      Array.from({ length: CARET_COLORS }, (_, number) => String(number)),
    );
    for (const [, , caret = ""] of colors) {
      expect(contrast(caret, text)).toBeGreaterThanOrEqual(4.5);
      expect(contrast(caret, card)).toBeGreaterThanOrEqual(3);
    }
  });
}

/** The light scheme is what stands in front of the media query. */
function partOf(css: string, index: number): string {
  return css.split("@media (prefers-color-scheme: dark)")[index] ?? "";
}

/** Per WCAG 2.2. */
function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance(color: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
