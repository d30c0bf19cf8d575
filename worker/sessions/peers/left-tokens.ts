/** Tokens of guests who have left a session, who cannot come back with them. */

export type LeftTokens = ReturnType<typeof createLeftTokens>;

/** The store keeps as many; beyond it the oldest is forgotten. */
const MAX_LEFT = 1000;

export function createLeftTokens(recorded: readonly string[]) {
  const tokens = new Set(recorded);
  return {
    get all(): readonly string[] {
      return [...tokens];
    },
    has: (tokenId: string) => tokens.has(tokenId),
    add(tokenId: string): void {
      const [oldest] = tokens;
      if (tokens.size >= MAX_LEFT && oldest !== undefined) tokens.delete(oldest);
      tokens.add(tokenId);
    },
  };
}
