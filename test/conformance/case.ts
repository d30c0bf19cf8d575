/**
 * One case of the conformance set: what goes in, and what each side has to see. The same cases are played to our balancer
 * and, by `npm run conformance -- --peers`, to nginx and HAProxy.
 */
import type { Stage } from "./stage.ts";

/**
 * `rule`: an RFC or a known attack demands it of every proxy · `choice`: we are stricter than the RFC demands, or one of
 * several ways that it allows; peers that differ are told apart from those that fail · `own`: a promise of this product
 * alone, not asked of peers.
 */
export type Kind = "rule" | "choice" | "own";

export interface Case {
  /** What is tested; with the subject in front it reads as a claim. */
  readonly name: string;
  /** RFC section, CVE or bug class. */
  readonly source: string;
  readonly kind: Kind;
  /** What the client writes, one part after the other, each in a segment of its own. */
  readonly sends: string | readonly string[];
  /** Methods of the requests in `sends`, where answers are framed by them. Default: the first word of `sends`. */
  readonly methods?: readonly string[];
  /** Whether the client sends FIN behind it. */
  readonly ends?: true;
  /** What the worker answers to its first, second … request; the last one is repeated. Default: `ok("fine")`. */
  readonly answers?: readonly Answer[];
  /** What reached the workers. Undefined: not looked at. */
  readonly worker?: "nothing" | readonly SeenRequest[];
  /** What reached the client, in order. Undefined: not looked at. */
  readonly client?: readonly SeenAnswer[];
  /**
   * Of the client's connection: `open`: a further request on it gets its own answer · `closed` · `cut`: the client can
   * tell that its answer is not complete · `any`: not looked at.
   */
  readonly leaves?: "open" | "closed" | "cut" | "any";
  /** For what a table cannot say: several connections, aborts, order in time. Replaces all of the above but `sends`. */
  readonly play?: (stage: Stage) => Promise<void>;
}

/** Bytes of a worker, and what becomes of its connection. */
export interface Answer {
  readonly bytes: string;
  readonly closes?: "end" | "reset";
}

/** Only what is named is compared. */
export interface SeenRequest {
  readonly line?: string;
  /** Field lines `Name: value`, the name in any case. */
  readonly has?: readonly string[];
  /** Names of fields, in lower case. */
  readonly lacks?: readonly string[];
  /** Without its framing. */
  readonly body?: string;
  /** Trailer lines, `name: value` with the name in lower case. */
  readonly trailers?: readonly string[];
}

export interface SeenAnswer {
  /** Several: any of them is a correct answer. */
  readonly status: number | readonly number[];
  readonly has?: readonly string[];
  readonly lacks?: readonly string[];
  readonly body?: string;
  readonly trailers?: readonly string[];
}

/** A set of cases with one subject, and what the balancer is set up with for it. */
export interface Subject {
  readonly name: string;
  readonly cases: readonly Case[];
  /** Default: one. */
  readonly workers?: number;
  /** Proxies in front whose forwarding fields are believed. Peers are not asked. */
  readonly trusted?: readonly string[];
  /** All time limits of clients and workers, in ms. */
  readonly timeoutMs?: number;
}

// --- the usual shapes ---

type More = Partial<Omit<Case, "name" | "source" | "sends">>;

/** Nothing reaches a worker, the client is told, and its connection is closed. */
export function refused(
  name: string,
  source: string,
  sends: Case["sends"],
  more: More & { readonly status?: number | readonly number[] } = {},
): Case {
  const { status = 400, ...rest } = more;
  return {
    name,
    source,
    kind: "rule",
    sends,
    worker: "nothing",
    client: [{ status }],
    leaves: "closed",
    ...rest,
  };
}

/** It reaches the worker so, is answered, and the client's connection goes on. */
export function forwarded(
  name: string,
  source: string,
  sends: Case["sends"],
  seen: SeenRequest,
  more: More = {},
): Case {
  return {
    name,
    source,
    kind: "rule",
    sends,
    worker: [seen],
    client: [{ status: 200, body: "fine" }],
    leaves: "open",
    ...more,
  };
}

/** What the client sees of a worker's answer to a plain GET. */
export function answered(
  name: string,
  source: string,
  answer: string | Answer,
  seen: SeenAnswer | readonly SeenAnswer[],
  more: More & { readonly sends?: Case["sends"] } = {},
): Case {
  const bytes = typeof answer === "string" ? { bytes: answer } : answer;
  const client = "status" in seen ? [seen] : seen;
  return {
    name,
    source,
    kind: "rule",
    sends: head("GET / HTTP/1.1", "Host: h"),
    answers: [bytes],
    client,
    leaves: "open",
    ...more,
  };
}

export function played(
  name: string,
  source: string,
  play: (stage: Stage) => Promise<void>,
  more: More = {},
): Case {
  return { name, source, kind: "rule", sends: "", play, ...more };
}

// --- how bytes are written ---

/** Lines with CRLF, and the empty line behind them. */
export function head(...lines: string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}

export function get(...fields: string[]): string {
  return head("GET / HTTP/1.1", "Host: h", ...fields);
}

export function post(body: string, ...fields: string[]): string {
  return `${head("POST / HTTP/1.1", "Host: h", ...fields)}${body}`;
}

/** A POST in chunks, given as their bytes. */
export function chunked(body: string, ...fields: string[]): string {
  return post(body, "Transfer-Encoding: chunked", ...fields);
}

/** An answer with a length. */
export function ok(body: string, ...fields: string[]): string {
  return `${head("HTTP/1.1 200 OK", `Content-Length: ${body.length}`, ...fields)}${body}`;
}

/** RFC 6455 §1.3 has both as its example. */
export const WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ==";
export const WEBSOCKET_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

export function upgrade(...fields: string[]): string {
  return get(
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${WEBSOCKET_KEY}`,
    ...fields,
  );
}

export function switching(...fields: string[]): string {
  return head(
    "HTTP/1.1 101 Switching Protocols",
    "Connection: Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Accept: ${WEBSOCKET_ACCEPT}`,
    ...fields,
  );
}
