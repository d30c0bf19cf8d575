/** Maps that are filled from many items. */

/** In the order of the first of each group; items in their order. */
export function groupBy<Item, Key>(
  items: Iterable<Item>,
  keyOf: (item: Item) => Key,
): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) getOrAdd(groups, keyOf(item), () => []).push(item);
  return groups;
}

/** How many there are of each, in the order of the first of each. */
export function countEach<Item>(items: Iterable<Item>): Map<Item, number> {
  const counts = new Map<Item, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

/** The value at `key`; a missing one is made and added. */
export function getOrAdd<Key, Value>(
  to: { get(key: Key): Value | undefined; set(key: Key, value: Value): unknown },
  key: Key,
  make: () => Value,
): Value {
  let value = to.get(key);
  if (value === undefined) {
    value = make();
    to.set(key, value);
  }
  return value;
}
