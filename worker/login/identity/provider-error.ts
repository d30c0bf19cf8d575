/** What goes wrong at an identity provider, without what it or the browser sent: that may hold codes and tokens. */
import type * as OpenId from "openid-client";
import { EdgeError } from "../../../shared/base/errors.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";

/**
 * `denied`: the person or the provider said no. `unreachable`: it did not respond, or with an error of its own. `invalid`: its
 * response proves nothing.
 */
export type ProviderProblem = "denied" | "unreachable" | "invalid";

export class ProviderError extends EdgeError {
  readonly code = "EDGE_IDENTITY_PROVIDER";
  readonly source = "upstream";
  readonly retryable: boolean;
  readonly problem: ProviderProblem;
  constructor(problem: ProviderProblem, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.problem = problem;
    this.retryable = problem === "unreachable";
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
export function explainedCheck(
  client: typeof OpenId,
  error: unknown,
): ProviderError | StoreAwayError {
  if (error instanceof StoreAwayError) return error;
  if (!(error instanceof client.ResponseBodyError)) return explained(client, error);
  const text = `the provider refused: ${safe(error.error)}`;
  return new ProviderError(REFUSALS.has(error.error) ? "denied" : "unreachable", text);
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
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const isNetwork =
    error instanceof TypeError ||
    code === "OAUTH_TIMEOUT" ||
    code === "OAUTH_RESPONSE_IS_NOT_CONFORM";
  if (isNetwork) {
    const detail = inner instanceof Error ? inner.message : describe(error);
    return new ProviderError("unreachable", `the provider cannot be used: ${detail}`);
  }
  return new ProviderError("invalid", `the provider's response is not valid: ${describe(error)}`);
}

/** An OAuth error code (RFC 6749 §4.1.2.1), which the browser may have changed. */
function safe(code: string): string {
  return /^[a-z_.-]{1,64}$/.test(code) ? code : "unknown error";
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
