/** Tokens of guests who have left a session, who cannot come back with them. */

export interface LeftTokens {
  readonly all: readonly string[];
  has(tokenId: string): boolean;
  add(tokenId: string): void;
}

/** The store keeps as many; beyond it the oldest is forgotten. */
const MAX_LEFT = 1000;

export function createLeftTokens(recorded: readonly string[]): LeftTokens {
  const tokens = new Set(recorded);
  return {
    get all() {
      return [...tokens];
    },
    has: (tokenId) => tokens.has(tokenId),
    add(tokenId) {
      const [oldest] = tokens;
      if (tokens.size >= MAX_LEFT && oldest !== undefined) tokens.delete(oldest);
      tokens.add(tokenId);
    },
  };
}
