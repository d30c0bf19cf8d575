/**
 * One case of the conformance set: its input, and what each side must receive. The same cases are played against our balancer
 * and, with `npm run conformance -- --peers`, against nginx and HAProxy.
 */
import type { Stage } from "./stage.ts";

/**
 * `rule`: an RFC or a known attack requires it of every proxy · `choice`: stricter than the RFC requires, or one of several
 * behaviors that it allows; a peer that differs does not fail · `own`: a promise of this product only, not played against
 * peers.
 */
export type Kind = "rule" | "choice" | "own";

export interface Case {
  /** What is tested; follows the name of the subject. */
  readonly name: string;
  /** RFC section, CVE or bug class. */
  readonly source: string;
  readonly kind: Kind;
  /** What the client sends; each part is a separate segment. */
  readonly sends: string | readonly string[];
  /** Methods of the requests in `sends`, which the framing of responses depends on. Default: the first word of `sends`. */
  readonly methods?: readonly string[];
  /** Whether the client then sends FIN. */
  readonly ends?: true;
  /** Responses of the worker to its first, second … request; the last one is repeated. Default: `ok("fine")`. */
  readonly answers?: readonly Answer[];
  /** Requests that reach the workers. Undefined: not checked. */
  readonly worker?: "nothing" | readonly SeenRequest[];
  /** Responses that reach the client, in order. Undefined: not checked. */
  readonly client?: readonly SeenAnswer[];
  /**
   * State of the client's connection: `open`: a further request gets its own response · `closed` · `cut`: the client can detect
   * that its response is incomplete · `any`: not checked.
   */
  readonly leaves?: "open" | "closed" | "cut" | "any";
  /** For cases that a table cannot express: several connections, aborts, timing. Replaces all of the above except `sends`. */
  readonly play?: (stage: Stage) => Promise<void>;
}

/** Bytes that a worker sends, and how it closes its connection. */
export interface Answer {
  readonly bytes: string;
  readonly closes?: "end" | "reset";
}

/** Only the given properties are compared. */
export interface SeenRequest {
  readonly line?: string | undefined;
  /** Field lines `Name: value`; the case of the name is ignored. */
  readonly has?: readonly string[] | undefined;
  /** Names of fields, in lower case. */
  readonly lacks?: readonly string[] | undefined;
  /** Without its framing. */
  readonly body?: string | undefined;
  /** Trailer lines, `name: value` with the name in lower case. */
  readonly trailers?: readonly string[] | undefined;
}

export interface SeenAnswer {
  /** Any of several statuses is correct. */
  readonly status: number | readonly number[];
  readonly has?: readonly string[] | undefined;
  readonly lacks?: readonly string[] | undefined;
  readonly body?: string | undefined;
  readonly trailers?: readonly string[] | undefined;
}

/** Cases of one subject, and the configuration of the balancer for them. */
export interface Subject {
  readonly name: string;
  readonly cases: readonly Case[];
  /** Default: one. */
  readonly workers?: number;
  /** Trusted proxies in front. Not used for peers. */
  readonly trusted?: readonly string[];
  /** All timeouts, in ms. */
  readonly timeoutMs?: number;
}

// --- common kinds of cases ---

type More = Partial<Omit<Case, "name" | "source" | "sends">>;

/** Nothing reaches a worker; the client gets an error, and its connection is closed. */
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

/** The request reaches the worker with what the last argument names, gets a response, and the client's connection stays open. */
export function forwarded(
  name: string,
  source: string,
  sends: Case["sends"],
  { line, has, lacks, body, trailers, ...more }: SeenRequest & More,
): Case {
  return {
    name,
    source,
    kind: "rule",
    sends,
    worker: [{ line, has, lacks, body, trailers }],
    client: [{ status: 200, body: "fine" }],
    leaves: "open",
    ...more,
  };
}

/** One response, or in `client` several. */
type Seen =
  | SeenAnswer
  | (Required<Pick<Case, "client">> & { readonly [Name in keyof SeenAnswer]?: never });

/** The worker's response to a plain GET reaches the client with what the last argument names. */
export function answered(
  name: string,
  source: string,
  answer: string | Answer,
  { status = 200, has, lacks, body, trailers, ...more }: Seen & More & Partial<Pick<Case, "sends">>,
): Case {
  const bytes = typeof answer === "string" ? { bytes: answer } : answer;
  return {
    name,
    source,
    kind: "rule",
    sends: head("GET / HTTP/1.1", "Host: h"),
    answers: [bytes],
    client: [{ status, has, lacks, body, trailers }],
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

// --- bytes of messages ---

/** Lines with CRLF, and an empty line. */
export function head(...lines: string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** A request without a body; `start` is the method and the target. */
export function request(start: string, ...fields: string[]): string {
  return head(`${start} HTTP/1.1`, "Host: h", ...fields);
}

export function get(...fields: string[]): string {
  return request("GET /", ...fields);
}

export function post(body: string, ...fields: string[]): string {
  return `${request("POST /", ...fields)}${body}`;
}

/** A POST with a chunked `body`, given with its chunk sizes. */
export function chunked(body: string, ...fields: string[]): string {
  return post(body, "Transfer-Encoding: chunked", ...fields);
}

export function ok(body: string, ...fields: string[]): string {
  return `${head("HTTP/1.1 200 OK", `Content-Length: ${body.length}`, ...fields)}${body}`;
}

/** The example of RFC 6455 §1.3. */
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
