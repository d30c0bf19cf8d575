import { EdgeError } from "../../shared/base/errors.ts";

/** What is limited for each address. */
export type LimitKind = "connections" | "handshakes" | "requests" | "logins" | "creates";

/** More was asked for than is allowed. */
export interface Excess {
  readonly kind: LimitKind;
  /** The limit of CT_LIMIT_…, or of a room token. */
  readonly perMinute: number;
  /** How many times `perMinute` are allowed. */
  readonly times: number;
  readonly whose: "address" | "room token";
  /** Until there is one again. */
  readonly waitMs: number;
}

/** An address, or the holder of a room token, has asked for more than it may. */
export class LimitError extends EdgeError {
  readonly code = "EDGE_LIMIT";
  readonly kind: LimitKind;
  /** Whole seconds until it may ask again, at least 1. */
  readonly retryAfterS: number;

  constructor(excess: Excess) {
    super(excess.whose === "address" ? messageOfAddress(excess) : messageOfToken(excess));
    this.kind = excess.kind;
    this.retryAfterS = Math.max(1, Math.ceil(excess.waitMs / 1000));
  }
}

function messageOfAddress({ kind, perMinute, times }: Excess): string {
  const factor = times === 1 ? "" : `${times} times `;
  return (
    `a client's address has more ${kind} than ${factor}CT_LIMIT_${kind.toUpperCase()}=${perMinute} a minute; if these are many people ` +
    "behind one address, raise it, or set CT_TRUSTED_PROXIES if they come through a proxy of yours"
  );
}

function messageOfToken({ kind, perMinute }: Excess): string {
  return `one room token has more than ${perMinute} ${kind} a minute; its client reconnects in a loop, or the token was stolen: lock the session to end it`;
}
