/**
 * Keeps a shared text plain. Peers can put other things into it than characters: a text counts them as characters, an editor
 * does not, so from then on what is typed would get to wrong places.
 */
import * as Y from "yjs";

/** A character in the place of what is none, until that is removed. */
const PLACEHOLDER = "\ufffc";

/** Must be called before others observe `text`: they get the changes in a form that they understand. */
export function keepPlain(text: Y.Text): void {
  text.observe(({ delta }) => {
    for (const change of delta) {
      if (change.insert !== undefined && typeof change.insert !== "string") {
        change.insert = PLACEHOLDER;
      }
    }
    // Queued by Yjs until all have observed this change.
    removeOthers(text);
  });
  removeOthers(text);
}

function removeOthers(text: Y.Text): void {
  const others: Y.Item[] = [];
  for (let item = text._start; item !== null; item = item.right) {
    const isOther = !(item.content instanceof Y.ContentString);
    if (isOther && item.countable && !item.deleted) others.push(item);
  }
  if (others.length === 0) return;
  // Not by `text.delete`, which passes over the values of arrays.
  text.doc?.transact((transaction) => {
    for (const item of others) item.delete(transaction);
  });
}
