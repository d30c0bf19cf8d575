import { EdgeError } from "../../shared/base/errors.ts";

/** What is limited for each address. */
export type LimitKind = "connections" | "handshakes" | "requests" | "logins" | "creates";

/** An address has asked for more than it may (`CT_LIMIT_…`). */
export class LimitError extends EdgeError {
  readonly code = "EDGE_LIMIT";
  readonly source = "downstream";
  readonly retryable = true;
  readonly kind: LimitKind;
  /** Whole seconds until it may ask again, at least 1. */
  readonly retryAfterS: number;

  constructor(kind: LimitKind, perMinute: number, waitMs: number) {
    super(
      `a client's address has more ${kind} than CT_LIMIT_${kind.toUpperCase()}=${perMinute} a minute; if these are many people ` +
        "behind one address, raise it, or set CT_TRUSTED_PROXIES if they come through a proxy of yours",
    );
    this.kind = kind;
    this.retryAfterS = Math.max(1, Math.ceil(waitMs / 1000));
  }
}
