/**
 * A question of one process of the edge to another, over HTTP: whether it is well, or that it take something. What
 * the answer says is in its head, mostly. By Node's own HTTP, which every process has loaded anyway: a library for it is 13 MB of each.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { errorCode } from "../base/errors.ts";
import { Agent, request } from "./node-http.ts";

export interface Question {
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Uint8Array;
  /** From now to the end of the answer, in ms. */
  readonly timeoutMs: number;
  /**
   * False: over a connection of its own, because a kept one to a process that has ended would not say that its port refuses.
   * A kept one is given up by the other side after 5 s without a question.
   */
  readonly keepConnection: boolean;
  /** A longer body of the answer is a failure. Default: the body is thrown away, whatever its length. */
  readonly maxBodyBytes?: number;
}

export interface ProcessAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Empty without `maxBodyBytes`. */
  readonly body: Buffer;
}

const kept = new Agent({ keepAlive: true });
/** How a connection answers whose other side has closed it. */
const STALE: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"]);

/**
 * Resolves with the answer, when it is there as a whole. Rejects with the system's error, or with a
 * `TimeoutError`. A question that met the end of a kept connection is asked once more, so it must be harmless twice.
 */
export async function askProcess(url: string, question: Question): Promise<ProcessAnswer> {
  const endMs = performance.now() + question.timeoutMs;
  try {
    return await ask(url, question, question.keepConnection ? kept : undefined, endMs);
  } catch (error) {
    if (!(error instanceof StaleConnectionError)) throw error;
    return ask(url, question, undefined, endMs);
  }
}

/** The other side has closed a kept connection just before the question came. */
class StaleConnectionError extends Error {}

function ask(
  url: string,
  { method = "GET", headers, body, maxBodyBytes }: Question,
  agent: InstanceType<typeof Agent> | undefined,
  endMs: number,
): Promise<ProcessAnswer> {
  return new Promise((resolve, reject) => {
    const fields = body === undefined ? headers : { ...headers, "content-length": body.length };
    const asked = request(url, { method, headers: fields, agent: agent ?? false });
    const leftMs = Math.max(endMs - performance.now(), 1);
    const limit = setTimeout(() => {
      asked.destroy(new DOMException("no answer in time", "TimeoutError"));
    }, leftMs);
    const fail = (error: unknown): void => {
      clearTimeout(limit);
      const isStale = asked.reusedSocket && STALE.has(errorCode(error) ?? "");
      reject(isStale ? new StaleConnectionError() : error);
    };
    asked.on("error", fail);
    asked.on("response", (answer) => {
      answer.on("error", fail);
      const chunks: Buffer[] = [];
      answer.on("end", () => {
        clearTimeout(limit);
        const { statusCode = 0 } = answer;
        resolve({ status: statusCode, headers: answer.headers, body: Buffer.concat(chunks) });
      });
      if (maxBodyBytes === undefined) {
        answer.resume();
        return;
      }
      let leftBytes = maxBodyBytes;
      answer.on("data", (chunk: Buffer) => {
        leftBytes -= chunk.length;
        if (leftBytes >= 0) chunks.push(chunk);
        else asked.destroy(new Error(`the answer has more than ${maxBodyBytes} bytes`));
      });
    });
    asked.end(body);
  });
}
