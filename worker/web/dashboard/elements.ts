/**
 * Making parts of the page. Text is always set as text: names, log lines and reasons come from strangers.
 */

/** The element with this id, which index.html has. Throws when it has not: then page and script are of two versions. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`the page has no ${type.name} with id ${id}`);
}

/** A new element with text. */
export function element(tag: string, text = "", className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== "") made.className = className;
  return made;
}

export interface Cell {
  readonly text: string;
  /** Shown as a badge of this kind. */
  readonly badge?: string;
  /** Said when it is pointed at. */
  readonly title?: string;
  readonly isNumber?: boolean;
  readonly content?: readonly HTMLElement[];
}

export interface Row {
  /** The same over updates, so that a row is changed and not replaced: focus and selection stay. */
  readonly key: string;
  readonly cells: readonly Cell[];
}

/** Makes `table` show `rows`. Touches only what differs, so a thousand rows a second are no work when few change. */
export function fillTable(
  table: HTMLTableElement,
  columns: readonly string[],
  rows: readonly Row[],
  none: string,
): void {
  if (table.tHead === null) {
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const cell = element("th", column);
      cell.setAttribute("scope", "col");
      head.append(cell);
    }
    table.createTBody();
  }
  const body = table.tBodies[0];
  if (body === undefined) return;
  const known = new Map([...body.rows].map((row) => [row.dataset["key"] ?? "", row]));
  let at: Element | null = body.firstElementChild;
  for (const row of rows) {
    const existing = known.get(row.key);
    known.delete(row.key);
    const shown = existing ?? document.createElement("tr");
    shown.dataset["key"] = row.key;
    fillRow(shown, row.cells);
    if (shown === at) at = at.nextElementSibling;
    else body.insertBefore(shown, at);
  }
  for (const gone of known.values()) gone.remove();
  if (rows.length === 0) {
    const empty = body.insertRow();
    empty.dataset["key"] = "";
    const cell = empty.insertCell();
    cell.colSpan = columns.length;
    cell.className = "none";
    cell.textContent = none;
  }
}

function fillRow(row: HTMLTableRowElement, cells: readonly Cell[]): void {
  const text = JSON.stringify(cells.map(({ text, badge, title }) => [text, badge, title]));
  if (row.dataset["shown"] === text) return;
  row.dataset["shown"] = text;
  row.replaceChildren(
    ...cells.map((cell) => {
      const made = element("td", "", cell.isNumber ? "number" : "");
      if (cell.content !== undefined) made.append(...cell.content);
      else if (cell.badge !== undefined)
        made.append(element("span", cell.text, `badge ${cell.badge}`));
      else made.textContent = cell.text;
      if (cell.title) made.title = cell.title;
      return made;
    }),
  );
}
