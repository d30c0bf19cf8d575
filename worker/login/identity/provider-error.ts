/** What goes wrong at an identity provider, without what it or the browser sent: that may hold codes and tokens. */
import type * as OpenId from "openid-client";
import { EdgeError } from "../../../shared/base/errors.ts";

/**
 * `denied`: the person or the provider said no. `unreachable`: it did not respond, or with an error of its own. `invalid`: its
 * response proves nothing.
 */
export type ProviderProblem = "denied" | "unreachable" | "invalid";

export class ProviderError extends EdgeError {
  readonly code = "EDGE_IDENTITY_PROVIDER";
  readonly problem: ProviderProblem;
  /** Whether there was no response at all. */
  readonly isSilent: boolean;
  /** Whether the provider may have taken a refresh token: its response is lost, or nobody can read it. */
  readonly isLost: boolean;
  constructor(
    problem: ProviderProblem,
    message: string,
    { isSilent = false, isLost = false }: { isSilent?: boolean; isLost?: boolean } = {},
  ) {
    super(message);
    this.problem = problem;
    this.isSilent = isSilent;
    this.isLost = isLost;
  }
}

/** Of a refresh token that the provider no longer accepts, or not without the person (RFC 6749 §5.2, OpenID Connect Core §3.1.2.6). */
const REFUSALS: ReadonlySet<string> = new Set([
  "invalid_grant",
  "access_denied",
  "consent_required",
  "interaction_required",
  "login_required",
]);

/** As `explained`, of a check without the person: only what is said of the person counts as a refusal. */
export function explainedCheck(client: typeof OpenId, error: unknown): ProviderError {
  if (!(error instanceof client.ResponseBodyError)) return explained(client, error);
  const text = `the provider refused: ${safe(error.error)}`;
  return new ProviderError(REFUSALS.has(error.error) ? "denied" : "unreachable", text);
}

/** Codes of errors before anything is sent. */
const NOT_SENT: ReadonlySet<string> = new Set([
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "EAI_AGAIN",
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** As `explainedCheck`, of the request with a refresh token, which may be of no use after it. */
export function explainedRefresh(client: typeof OpenId, error: unknown): ProviderError {
  const { problem, message, isSilent } = explainedCheck(client, error);
  const cause = error instanceof Error ? error.cause : undefined;
  const isLost = !(error instanceof client.ResponseBodyError) && !NOT_SENT.has(codeOf(cause));
  return new ProviderError(problem, message, { isSilent, isLost });
}

/** Without what the provider or the browser sent: it may hold codes and tokens. */
export function explained(client: typeof OpenId, error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const inner = error instanceof Error ? error.cause : undefined;
  if (inner instanceof ProviderError) return inner;
  if (error instanceof client.AuthorizationResponseError) {
    return new ProviderError("denied", `the provider refused: ${safe(error.error)}`);
  }
  if (error instanceof client.ResponseBodyError) {
    return new ProviderError("invalid", `the provider refused the code: ${safe(error.error)}`);
  }
  const code = codeOf(error);
  const isSilent = error instanceof TypeError || code === "OAUTH_TIMEOUT";
  if (isSilent || code === "OAUTH_RESPONSE_IS_NOT_CONFORM") {
    const detail = inner instanceof Error ? inner.message : describe(error);
    return new ProviderError("unreachable", `the provider cannot be used: ${detail}`, { isSilent });
  }
  return new ProviderError("invalid", `the provider's response is not valid: ${describe(error)}`);
}

/** An OAuth error code (RFC 6749 §4.1.2.1), which the browser may have changed. */
function safe(code: string): string {
  return /^[a-z_.-]{1,64}$/.test(code) ? code : "unknown error";
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
