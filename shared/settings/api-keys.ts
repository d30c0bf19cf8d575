/**
 * The value of `CT_LOGIN_API_KEY`: one key, or several with the name of who has each, `ci:KEY,agent:KEY`. Pure.
 */

export interface ApiKey {
  /** What hosts see of who signs in with it; undefined for a key without a name. */
  readonly name: string | undefined;
  readonly key: string;
}

const MIN_KEY_CHARS = 16;
const MAX_KEY_CHARS = 1024;
/** Without what separates entries, and without what could make a name look like another one in a list of people. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._@-]{0,63}$/u;

/**
 * The keys in `text`, or what is wrong with it, for the operator: an entry is called by its position, because what stands
 * in it may be a key. A text without a colon is one key, whatever else it holds.
 */
export function parseApiKeys(text: string): readonly ApiKey[] | string {
  if (!text.includes(":")) return problemOfKey(text) ?? [{ name: undefined, key: text }];
  const keys: ApiKey[] = [];
  for (const [index, entry] of text.split(/[,\n]/).entries()) {
    const parsed = parseEntry(entry.trim());
    if (typeof parsed === "string") return `entry ${index + 1}: ${parsed}`;
    keys.push(parsed);
  }
  return (
    problemOfTwins(keys, "name", ({ name }) => name?.toLowerCase() ?? "") ??
    problemOfTwins(keys, "key", ({ key }) => key) ??
    keys
  );
}

function parseEntry(entry: string): ApiKey | string {
  const colon = entry.indexOf(":");
  const name = colon < 0 ? undefined : entry.slice(0, colon).trim().normalize("NFC");
  const key = entry.slice(colon + 1).trim();
  if (name !== undefined && !NAME.test(name)) {
    return "a name has 1 to 64 letters, digits, spaces and . _ @ -, and begins with a letter or digit";
  }
  return problemOfKey(key) ?? { name, key };
}

function problemOfKey(key: string): string | undefined {
  if (key.length >= MIN_KEY_CHARS && key.length <= MAX_KEY_CHARS) return undefined;
  return `a key has ${MIN_KEY_CHARS} to ${MAX_KEY_CHARS} characters`;
}

function problemOfTwins(
  keys: readonly ApiKey[],
  what: "name" | "key",
  of: (key: ApiKey) => string,
): string | undefined {
  const positions = new Map<string, number>();
  for (const [index, key] of keys.entries()) {
    const first = positions.get(of(key));
    if (first !== undefined) return `entries ${first} and ${index + 1} have the same ${what}`;
    positions.set(of(key), index + 1);
  }
  return undefined;
}
