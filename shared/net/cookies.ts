/** Reads the header Cookie (RFC 6265 §5.4). Pure. */

/**
 * The first value of the cookie `name` that `read` accepts. `header`: of several fields, joined with semicolons. Blanks around a name
 * and a value do not count; names are case-sensitive.
 */
export function firstCookie<Value>(
  header: string,
  name: string,
  read: (value: string) => Value | undefined,
): Value | undefined {
  if (!header.includes(name)) return undefined;
  // Pair by pair: split() would allocate thousands of strings for a hostile field.
  let start = 0;
  while (start < header.length) {
    let end = header.indexOf(";", start);
    if (end < 0) end = header.length;
    const value = valueIn(header.slice(start, end).trim(), name);
    const found = value === undefined ? undefined : read(value);
    if (found !== undefined) return found;
    start = end + 1;
  }
  return undefined;
}

/** The first value of the cookie `name`, or undefined. */
export function readCookie(header: string | undefined, name: string): string | undefined {
  return header === undefined ? undefined : firstCookie(header, name, (value) => value);
}

function valueIn(pair: string, name: string): string | undefined {
  if (!pair.startsWith(name)) return undefined;
  const equals = pair.indexOf("=");
  if (equals < 0 || pair.slice(0, equals).trim() !== name) return undefined;
  return pair.slice(equals + 1).trim();
}
