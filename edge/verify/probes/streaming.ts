/**
 * Whether something in front collects requests or responses before it passes them on. The edge refuses a request without a
 * token before its body has arrived, so an upload that is never completed is answered only if it passes piece by piece; the
 * dashboard's events begin at once and never end.
 */
import { type ClientRequest, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Failed, Responded } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { failureOf } from "./failures.ts";

export type StreamAnswer =
  /** Nothing came in time. */
  | { readonly outcome: "silence"; readonly waitedMs: number }
  | Failed
  /** The head, and of events the first bytes of the body. */
  | Pick<Responded, "outcome" | "status" | "headers" | "tookMs">;

/** The largest message that an edge accepts by default. */
export const ANNOUNCED_BYTES = 16 * 1024 * 1024;
const SENT_BYTES = 1024;
const WAIT_MS = 4000;

/** Announces 16 MiB, sends 1 KiB and waits for the response. Never rejects. */
export function beginUpload(target: Target, signal: AbortSignal): Promise<StreamAnswer> {
  return stream(target, signal, {
    path: "/api/session/create",
    method: "POST",
    headers: { "content-length": String(ANNOUNCED_BYTES) },
    body: Buffer.alloc(SENT_BYTES),
    until: "head",
  });
}

/** Waits for the first event of the dashboard. Never rejects. */
export function beginEvents(
  target: Target,
  signal: AbortSignal,
  token: string,
): Promise<StreamAnswer> {
  return stream(target, signal, {
    path: "/dashboard/api/events",
    method: "GET",
    headers: { authorization: `Bearer ${token}` },
    until: "body",
  });
}

interface Exchange {
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly until: "head" | "body";
}

function stream(target: Target, signal: AbortSignal, exchange: Exchange): Promise<StreamAnswer> {
  const startMs = performance.now();
  const took = (): number => performance.now() - startMs;
  return new Promise((resolve) => {
    const send = target.isSecure ? httpsRequest : httpRequest;
    const request: ClientRequest = send(target.baseUrl + exchange.path, {
      method: exchange.method,
      headers: { "user-agent": "ct-edge verify", ...exchange.headers },
      rejectUnauthorized: false,
      agent: false,
      signal,
    });
    const late = setTimeout(() => end({ outcome: "silence", waitedMs: took() }), WAIT_MS);

    function end(answer: StreamAnswer): void {
      clearTimeout(late);
      resolve(answer);
      request.destroy();
    }

    request.on("error", (error) => end(failureOf(error, took())));
    request.once("response", (response) => {
      response.on("error", (error) => end(failureOf(error, took())));
      const answer: StreamAnswer = {
        outcome: "response",
        status: response.statusCode ?? 0,
        headers: response.headers,
        tookMs: took(),
      };
      if (exchange.until === "head" || response.statusCode !== 200) end(answer);
      else response.once("data", () => end({ ...answer, tookMs: took() }));
    });
    if (exchange.body === undefined) request.end();
    else request.write(exchange.body);
  });
}
