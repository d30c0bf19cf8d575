/** Requests to a certificate authority, as acme-client sends them: trust, time limits, and what its errors mean. */
import { Agent } from "node:https";
import { setTimeout } from "node:timers/promises";
import { createSecureContext, rootCertificates } from "node:tls";
import { axios } from "acme-client";
import type { CaFailure } from "./ca-protocol.ts";
import type { FailureKind } from "./record.ts";

/** Some authorities verify a name, for up to 30 s, before they respond. */
const TIMEOUT_MS = 60_000;
/** Far more than a chain of certificates; lists of revoked ones are longer. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

export interface CaRequests {
  /** A plain GET. Rejects for a status other than 200. */
  get(url: string): Promise<Received<Buffer>>;
  /** As `get`, of a JSON object. */
  getJson(url: string): Promise<Received<Readonly<Record<string, unknown>>>>;
}

interface Received<Body> {
  readonly body: Body;
  readonly retryAfterMs: number | undefined;
}

/** Prepares acme-client's requests. For one job: its settings are those of the whole thread. */
export function prepareRequests(ca: string | undefined): CaRequests {
  axios.defaults.timeout = TIMEOUT_MS;
  axios.defaults.maxContentLength = MAX_RESPONSE_BYTES;
  axios.defaults.httpsAgent = ca === undefined ? undefined : agentThatTrusts(ca);
  // acme-client's own handler repeats requests for minutes without telling why, and an unreachable authority is a bug in it.
  axios.interceptors.response.clear();
  axios.interceptors.response.use(undefined, async (error: unknown) => {
    const { response } = error as { response?: AuthorityResponse };
    if (response === undefined) throw error;
    if (response.status >= 400) {
      const problem = problemOf(response);
      const { config } = response;
      if (isBriefLimit(problem) && !config.wasRepeated) {
        await setTimeout(Math.max(1000, problem.retryAfterMs ?? 0));
        return axios.request({ ...config, wasRepeated: true } as Parameters<
          typeof axios.request
        >[0]);
      }
      // acme-client repeats these requests.
      if (problem.type !== "badNonce") throw new ProblemError(problem);
    } else if (!isReadable(response)) throw notJson(response.config.url);
    return response;
  });

  async function get(url: string): Promise<Received<Buffer>> {
    const response = await axios.get<ArrayBuffer>(url, { responseType: "arraybuffer" });
    if (response.status !== 200) throw new Error(`${url}: status ${response.status}`);
    const retryAfterMs = readRetryAfter(response.headers["retry-after"]);
    return { body: Buffer.from(response.data), retryAfterMs };
  }

  return {
    get,
    async getJson(url) {
      const { body, retryAfterMs } = await get(url);
      return { body: parseObject(body.toString("utf8"), url), retryAfterMs };
    },
  };
}

/** Authorities limit requests by the second, too. */
const BRIEF_MS = 10_000;

function isBriefLimit({ status, retryAfterMs }: Problem): boolean {
  return (
    (status === 429 || status === 503) && retryAfterMs !== undefined && retryAfterMs <= BRIEF_MS
  );
}

function agentThatTrusts(ca: string): Agent {
  // Reading all roots takes 20 ms: once, not for each connection.
  return new Agent({ secureContext: createSecureContext({ ca: [...rootCertificates, ca] }) });
}

// --- responses ---

interface AuthorityResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly data: unknown;
  readonly config: {
    readonly url?: string;
    readonly method?: string;
    readonly responseType?: string;
    /** Set here. */
    readonly wasRepeated?: boolean;
  };
}

/** acme-client takes a page of a proxy for an order, or for a certificate. */
function isReadable({ data, config }: AuthorityResponse): boolean {
  if (config.method === "head" || config.responseType === "arraybuffer") return true;
  // Without a body: to requests whose response acme-client does not read.
  if (typeof data === "string") return data === "" || data.includes("-----BEGIN CERTIFICATE-----");
  return typeof data === "object" && data !== null;
}

function parseObject(text: string, url: string): Readonly<Record<string, unknown>> {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null) return found as Record<string, unknown>;
  } catch {
    // Not JSON at all.
  }
  throw notJson(url);
}

function notJson(url = ""): Error {
  return new InvalidResponseError(`${url} responds with something other than ACME`);
}

/** A problem document of the authority (RFC 8555 §6.7). */
interface Problem {
  readonly status: number;
  /** Without its prefix, like `rateLimited`. */
  readonly type: string;
  readonly detail: string;
  readonly retryAfterMs: number | undefined;
}

function problemOf({ status, headers, data }: AuthorityResponse): Problem {
  return problemIn(data, status, readRetryAfter(headers["retry-after"]));
}

/** `status` and `retryAfterMs`: of the response that it is; without: it is part of one. */
export function problemIn(data: unknown, status = 400, retryAfterMs?: number): Problem {
  const { type, detail } = (typeof data === "object" && data !== null ? data : {}) as {
    type?: unknown;
    detail?: unknown;
  };
  return {
    status,
    type: typeof type === "string" ? (type.split(":").at(-1) ?? "") : "",
    detail: typeof detail === "string" ? detail : `status ${status}`,
    retryAfterMs,
  };
}

/** The longest that a known authority limits a client. A mistake in a header must not stop renewals for longer. */
const MAX_RETRY_AFTER_MS = 7 * 24 * 3_600_000;

/** Seconds, or a date (RFC 9110 §10.2.3). */
export function readRetryAfter(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  if (/^\d+$/.test(value)) return Math.min(MAX_RETRY_AFTER_MS, Number(value) * 1000);
  // Other texts than dates are dates to Date.parse: "-5" is one in May 2001.
  const atMs = /\d\d:\d\d:\d\d/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(atMs)) return undefined;
  return Math.min(MAX_RETRY_AFTER_MS, Math.max(0, atMs - Date.now()));
}

// --- what an error means ---

const MAX_DETAIL_CHARS = 500;

/** Errors of TLS: codes of OpenSSL's verification, and Node's own. */
const UNTRUSTED =
  /^(UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_|ERR_TLS_CERT|INVALID_CA|INVALID_PURPOSE)/;

export function describeFailure(error: unknown): CaFailure {
  const failed = (kind: FailureKind, detail: string, retryAfterMs?: number): CaFailure => ({
    outcome: "failed",
    kind,
    detail: detail.slice(0, MAX_DETAIL_CHARS),
    retryAfterMs,
  });
  if (error instanceof ChallengeError) return failed("challenge", error.message);
  if (error instanceof InvalidResponseError) return failed("unreachable", error.message);
  if (error instanceof ProblemError) {
    const { status, type, detail, retryAfterMs } = error.problem;
    if (error.isLimit) return failed("rate-limited", detail, retryAfterMs);
    if (type === "externalAccountRequired") {
      return failed("refused", `${detail}; set CT_ACME_EAB to the id and key that it gives you`);
    }
    if (status >= 500) return failed("unreachable", detail, retryAfterMs);
    return failed("refused", type === "" ? detail : `${detail} (${type})`, retryAfterMs);
  }
  const { code, message = String(error) } = error as { code?: unknown; message?: string };
  if (typeof code !== "string") return failed("internal", message);
  if (!UNTRUSTED.test(code)) return failed("unreachable", message);
  return failed("untrusted", `${message}; ${cureOf(code)}`);
}

function cureOf(code: string): string {
  if (/EXPIRED|NOT_YET_VALID/.test(code)) {
    return "check this machine's clock, and the authority's certificate";
  }
  return code === "ERR_TLS_CERT_ALTNAME_INVALID"
    ? "check the host name in CT_ACME_URL"
    : "set CT_ACME_CA to the root of the authority at CT_ACME_URL";
}

/** The authority could not verify a name. */
export class ChallengeError extends Error {}

/** The authority refuses a request. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }

  get isLimit(): boolean {
    const { status, type } = this.problem;
    return type === "rateLimited" || status === 429;
  }

  /** The same request will be refused again, which is not so while the authority is overloaded. */
  get isFinal(): boolean {
    return this.problem.status < 500 && !this.isLimit;
  }
}

/** What comes is no response of an authority, or it comes too late. */
export class InvalidResponseError extends Error {}
