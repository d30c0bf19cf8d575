/** What the charts are made of. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export function svgPage(page: {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly parts: readonly string[];
}): string {
  const { title, width, height } = page;
  const parts = [
    `<title>${escaped(title)}</title>`,
    textAt({ x: 0, y: 16 }, title, 'font-size="15" font-weight="bold"'),
    ...page.parts,
  ];
  // The grey of the text is readable on light and on dark pages.
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#7d8590">\n${parts.join("\n")}\n</svg>\n`;
}

export function textAt({ x, y }: Point, words: string, attributes = ""): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped(words)}</text>`;
}

export function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
