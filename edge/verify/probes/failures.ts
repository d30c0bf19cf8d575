/** Classifies errors of connections. */
import { describeError, errorCode } from "../../../shared/base/errors.ts";
import type { Failed, FailureReason } from "../model/observations.ts";

const REASON_BY_CODE: Readonly<Record<string, FailureReason>> = {
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  EAI_NODATA: "dns",
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  ETIMEDOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_HEADERS_TIMEOUT: "timeout",
  UND_ERR_BODY_TIMEOUT: "timeout",
  ECONNRESET: "cut",
  EPIPE: "cut",
  UND_ERR_SOCKET: "cut",
  UND_ERR_ABORTED: "interrupted",
  UND_ERR_DESTROYED: "interrupted",
  ABORT_ERR: "interrupted",
  UND_ERR_HEADERS_OVERFLOW: "not-http",
  EPROTO: "tls",
};

export function failureOf(error: unknown, tookMs: number): Failed {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : undefined;
  const reason = reasonOf(error) ?? reasonOf(cause) ?? "other";
  return { outcome: "failed", reason, detail: describe(error), tookMs };
}

function reasonOf(error: unknown): FailureReason | undefined {
  if (error instanceof DOMException) {
    if (error.name === "TimeoutError") return "timeout";
    if (error.name === "AbortError") return "interrupted";
  }
  // undici's parser errors have a code for some faults only.
  if (error instanceof Error && error.name === "HTTPParserError") return "not-http";
  const code = errorCode(error) ?? "";
  if (code.startsWith("HPE_")) return "not-http";
  if (code.startsWith("ERR_SSL") || code.startsWith("ERR_TLS")) return "tls";
  return REASON_BY_CODE[code];
}

/** Without the addresses that a connection to several of them has tried. */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") {
    const [first] = error.errors;
    return describeError(first ?? error);
  }
  return describeError(error);
}
