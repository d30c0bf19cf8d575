/**
 * Parses `CT_LOGIN_API_KEY`: one key, or several, each with the name of its holder: `ci:KEY,agent:KEY`. Pure.
 */

export interface ApiKey {
  /** The name that hosts see; undefined for a key without a name. */
  readonly name: string | undefined;
  readonly key: string;
}

const MIN_KEY_CHARS = 16;
const MAX_KEY_CHARS = 1024;
/** Excludes the separators of entries, and characters with which a name could imitate another one in a list of people. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._@-]{0,63}$/u;

/**
 * The keys in `text`, or a problem for the operator. The problem names an entry by its position, because the entry may
 * contain a key. A text without a colon is a single key.
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
    problemOfDuplicates(keys, "name", ({ name }) => name?.toLowerCase() ?? "") ??
    problemOfDuplicates(keys, "key", ({ key }) => key) ??
    keys
  );
}

function parseEntry(entry: string): ApiKey | string {
  const colon = entry.indexOf(":");
  const name = colon < 0 ? undefined : entry.slice(0, colon).trim().normalize("NFC");
  const key = entry.slice(colon + 1).trim();
  if (name !== undefined && !NAME.test(name)) {
    return "use a name of 1 to 64 letters, digits, spaces and . _ @ - that begins with a letter or digit";
  }
  return problemOfKey(key) ?? { name, key };
}

function problemOfKey(key: string): string | undefined {
  if (key.length >= MIN_KEY_CHARS && key.length <= MAX_KEY_CHARS) return undefined;
  return `use a key of ${MIN_KEY_CHARS} to ${MAX_KEY_CHARS} characters`;
}

function problemOfDuplicates(
  keys: readonly ApiKey[],
  what: "name" | "key",
  of: (key: ApiKey) => string,
): string | undefined {
  const positions = new Map<string, number>();
  for (const [index, key] of keys.entries()) {
    const first = positions.get(of(key));
    if (first !== undefined)
      return `entries ${first} and ${index + 1} have the same ${what}; use a different ${what} in each`;
    positions.set(of(key), index + 1);
  }
  return undefined;
}
