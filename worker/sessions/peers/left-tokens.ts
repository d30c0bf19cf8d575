/** Tokens of guests who have left a session, who cannot come back with them. */
import { BoundedSet } from "../../../shared/base/bounded.ts";

export type LeftTokens = ReturnType<typeof createLeftTokens>;

/** The store keeps as many; beyond it the oldest is forgotten. */
const MAX_LEFT = 1000;

export function createLeftTokens(recorded: readonly string[]) {
  const tokens = new BoundedSet<string>(MAX_LEFT);
  for (const tokenId of recorded) tokens.add(tokenId);
  return {
    get all(): readonly string[] {
      return [...tokens];
    },
    has: (tokenId: string) => tokens.has(tokenId),
    add(tokenId: string): void {
      tokens.add(tokenId);
    },
  };
}
