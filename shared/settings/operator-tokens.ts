/** Parses `CT_DASHBOARD_TOKENS`: tokens with which programs use the dashboard's JSON, `NAME:SCOPES:TOKEN` each. Pure. */
import { PERMISSIONS, type Permission } from "./operator-roles.ts";

export interface OperatorToken {
  /** In the log of commands. */
  readonly name: string;
  readonly scopes: readonly Permission[];
  readonly token: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** What a header can hold (RFC 6750 §2.1), and long enough that nobody guesses it. */
const TOKEN = /^[A-Za-z0-9._~+/-]{32,512}=*$/;

/** The tokens in `text`, or a problem for the operator, which names an entry by its position: it contains a token. */
export function parseOperatorTokens(text: string): readonly OperatorToken[] | string {
  const tokens: OperatorToken[] = [];
  for (const [index, entry] of text
    .trim()
    .split(/[,\s]+/)
    .entries()) {
    const parsed = parseEntry(entry);
    if (typeof parsed === "string") return `entry ${index + 1}: ${parsed}`;
    if (tokens.some(({ name, token }) => name === parsed.name || token === parsed.token)) {
      return `entry ${index + 1}: an earlier entry has the same name or token`;
    }
    tokens.push(parsed);
  }
  return tokens;
}

function parseEntry(entry: string): OperatorToken | string {
  const [name = "", scopes = "", token = ""] = entry.split(":");
  if (!NAME.test(name)) return "use NAME:SCOPES:TOKEN, with a name of letters, digits and . _ -";
  const known = scopes.split("+").map((scope) => PERMISSIONS.find((one) => one === scope));
  const granted = known.filter((scope) => scope !== undefined);
  if (granted.length < known.length) return `use the scopes ${PERMISSIONS.join(", ")}, joined by +`;
  if (!TOKEN.test(token)) return "use a token of 32 to 512 letters, digits and . _ ~ + / -";
  return { name, scopes: granted, token };
}
