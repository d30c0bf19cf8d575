/**
 * Creates elements and tables. Text is never set as HTML: names, log lines and reasons are untrusted.
 */

/** An element of index.html. Throws when it is missing: page and script are from different versions. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`the page has no ${type.name} with id ${id}`);
}

export function element(tag: string, text = "", className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== "") made.className = className;
  return made;
}

export function button(text: string, className: string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (className !== "") made.className = className;
  made.addEventListener("click", onClick);
  return made;
}

export interface Cell {
  readonly text: string;
  /** Shown as a badge of this kind. */
  readonly badge?: string;
  /** Tooltip. */
  readonly title?: string;
  readonly isNumber?: boolean;
  /** Creates the contents; called again when `text` changes. */
  readonly content?: () => readonly HTMLElement[];
}

/** A number, or a dash. */
export function number(text: string): Cell {
  return { text, isNumber: true };
}

/** Items of one kind as a table. */
export interface TableOf<T> {
  readonly columns: readonly (readonly [title: string, cell: (item: T) => Cell | string])[];
  /** Stable over updates, so that a row is updated, not replaced: focus and selection stay. */
  readonly keyOf: (item: T, index: number) => string;
  /** Shown instead of rows. */
  readonly none: string;
}

/** Shows `items` in `table`. Updates only what differs, so a thousand rows are cheap when few change. */
export function fillTable<T>(
  table: HTMLTableElement,
  { columns, keyOf, none }: TableOf<T>,
  items: readonly T[],
): void {
  const body = bodyOf(
    table,
    columns.map(([title]) => title),
  );
  const rows = items.map((item, index) => ({
    key: keyOf(item, index),
    cells: columns.map(([, cellOf]) => cellFrom(cellOf(item))),
  }));
  const existing = new Map([...body.rows].map((row) => [row.dataset["key"] ?? "", row]));
  const wanted = new Set(rows.map(({ key }) => key));
  for (const [key, row] of existing) if (!wanted.has(key)) row.remove();
  const [first] = rows;
  for (const [index, cell] of [...(table.tHead?.rows[0]?.cells ?? [])].entries()) {
    cell.classList.toggle("number", first?.cells[index]?.isNumber === true);
  }
  let at: Element | null = body.firstElementChild;
  for (const row of rows) {
    const shown = existing.get(row.key) ?? document.createElement("tr");
    shown.dataset["key"] = row.key;
    fillRow(shown, row.cells);
    if (shown === at) at = at.nextElementSibling;
    else body.insertBefore(shown, at);
  }
  if (rows.length > 0) return;
  const empty = body.insertRow();
  empty.dataset["key"] = "";
  const cell = empty.insertCell();
  cell.colSpan = columns.length;
  cell.className = "none";
  cell.textContent = none;
}

function cellFrom(cell: Cell | string): Cell {
  return typeof cell === "string" ? { text: cell } : cell;
}

function bodyOf(table: HTMLTableElement, columns: readonly string[]): HTMLTableSectionElement {
  const existing = table.tBodies[0];
  if (existing !== undefined) return existing;
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = element("th", column);
    cell.setAttribute("scope", "col");
    head.append(cell);
  }
  return table.createTBody();
}

/** The cells that each row shows, to compare without reading the DOM. */
const shownCells = new WeakMap<HTMLTableRowElement, readonly Cell[]>();

function fillRow(row: HTMLTableRowElement, cells: readonly Cell[]): void {
  const before = shownCells.get(row);
  shownCells.set(row, cells);
  if (before?.length !== cells.length) {
    row.replaceChildren(...cells.map(makeCell));
    return;
  }
  for (const [at, cell] of cells.entries()) {
    const old = before[at];
    const made = row.cells[at];
    if (old === undefined || made === undefined || isSame(old, cell)) continue;
    const text = made.firstChild;
    if (isPlain(old) && isPlain(cell) && text instanceof Text) text.nodeValue = cell.text;
    else made.replaceWith(makeCell(cell));
  }
}

/** `content` is compared by `text`. */
function isSame(a: Cell, b: Cell): boolean {
  return a.text === b.text && a.badge === b.badge && a.title === b.title;
}

function isPlain({ badge, title, content }: Cell): boolean {
  return badge === undefined && title === undefined && content === undefined;
}

function makeCell({ text, badge, title, isNumber, content }: Cell): HTMLElement {
  const made = element("td", "", isNumber ? "number" : "");
  if (content !== undefined) made.append(...content());
  else if (badge !== undefined) made.append(element("span", text, `badge ${badge}`));
  // A text node even when empty, so that an update only changes its value.
  else made.append(new Text(text));
  if (title !== undefined) made.title = title;
  return made;
}
