/**
 * An HTTP request from one process of the edge to another, such as a probe or a handover. It uses Node's own HTTP, which
 * every process has loaded; an HTTP library would take 13 MB per process.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { errorCode } from "../base/errors.ts";
import { Agent, request } from "./node-http.ts";

interface ProcessRequest {
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Uint8Array;
  /** From now to the end of the response, in ms. */
  readonly timeoutMs: number;
  /**
   * Whether to reuse connections. False opens a new one, because a reused one does not show that the port of an ended process
   * refuses connections. The other side closes a reused connection after 5 s without a request.
   */
  readonly keepConnection: boolean;
  /** A response with a longer body rejects. Default: the body is discarded, whatever its length. */
  readonly maxBodyBytes?: number;
}

export interface ProcessAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Empty without `maxBodyBytes`. */
  readonly body: Buffer;
}

const keepAliveAgent = new Agent({ keepAlive: true });
/** Errors of a connection that the other side has closed. */
const STALE_CODES: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"]);

/**
 * Resolves with the complete response. Rejects with the system's error or a `TimeoutError`. If a reused connection was closed
 * just before the request arrived, the request is sent once more, so it must be idempotent.
 */
export async function askProcess(url: string, options: ProcessRequest): Promise<ProcessAnswer> {
  const endMs = performance.now() + options.timeoutMs;
  try {
    return await send(url, options, options.keepConnection ? keepAliveAgent : undefined, endMs);
  } catch (error) {
    if (!(error instanceof StaleConnectionError)) throw error;
    return send(url, options, undefined, endMs);
  }
}

/** The other side closed a reused connection just before the request arrived. */
class StaleConnectionError extends Error {}

function send(
  url: string,
  { method = "GET", headers, body, maxBodyBytes }: ProcessRequest,
  agent: InstanceType<typeof Agent> | undefined,
  endMs: number,
): Promise<ProcessAnswer> {
  return new Promise((resolve, reject) => {
    const fields = body === undefined ? headers : { ...headers, "content-length": body.length };
    const sent = request(url, { method, headers: fields, agent: agent ?? false });
    const leftMs = Math.max(endMs - performance.now(), 1);
    const limit = setTimeout(() => {
      sent.destroy(new DOMException("no response in time", "TimeoutError"));
    }, leftMs);
    const fail = (error: unknown): void => {
      clearTimeout(limit);
      const isStale = sent.reusedSocket && STALE_CODES.has(errorCode(error) ?? "");
      reject(isStale ? new StaleConnectionError() : error);
    };
    sent.on("error", fail);
    sent.on("response", (response) => {
      response.on("error", fail);
      const chunks: Buffer[] = [];
      response.on("end", () => {
        clearTimeout(limit);
        const { statusCode = 0 } = response;
        resolve({ status: statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      });
      if (maxBodyBytes === undefined) {
        response.resume();
        return;
      }
      let leftBytes = maxBodyBytes;
      response.on("data", (chunk: Buffer) => {
        leftBytes -= chunk.length;
        if (leftBytes >= 0) chunks.push(chunk);
        else sent.destroy(new Error(`the response has more than ${maxBodyBytes} bytes`));
      });
    });
    sent.end(body);
  });
}
