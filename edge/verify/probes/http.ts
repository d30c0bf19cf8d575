/** Requests to the deployment, whose certificate is judged elsewhere and trusted here: one fault must not hide the others. */
import { Agent, request } from "undici";
import type { HttpAnswer } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { failureOf } from "./failures.ts";

export interface HttpProbe {
  /**
   * Sends one request, to a path below the target or to a whole URL, and reads the beginning of the response. Follows no
   * redirect. Never rejects.
   */
  send(where: string, options?: RequestOptions): Promise<HttpAnswer>;
  close(): Promise<void>;
}

export interface RequestOptions {
  readonly method?: "GET" | "POST" | "OPTIONS";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs?: number;
  /** On a connection of its own, which may lead to another balancer. */
  readonly fresh?: true;
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 8000;
const CONNECT_TIMEOUT_MS = 5000;
/** A page of ours has 2 KiB; whatever responds instead may not end. */
const MAX_BODY_CHARS = 64 * 1024;

export function createHttpProbe(target: Target, signal: AbortSignal): HttpProbe {
  const options = { connect: { rejectUnauthorized: false, timeout: CONNECT_TIMEOUT_MS } };
  const keeping = new Agent(options);
  const closing = new Agent({ ...options, pipelining: 0 });
  return {
    async send(where, { fresh, timeoutMs = TIMEOUT_MS, ...rest } = {}) {
      const startMs = performance.now();
      const signals = [signal, AbortSignal.timeout(timeoutMs), rest.signal];
      try {
        const { statusCode, headers, body } = await request(
          where.startsWith("/") ? target.baseUrl + where : where,
          {
            method: rest.method ?? "GET",
            headers: { "user-agent": "ct-edge verify", ...rest.headers },
            body: rest.body ?? null,
            dispatcher: fresh ? closing : keeping,
            signal: AbortSignal.any(signals.filter((one) => one !== undefined)),
            headersTimeout: timeoutMs,
            bodyTimeout: timeoutMs,
          },
        );
        const text = await readBeginning(body);
        return {
          outcome: "response",
          status: statusCode,
          headers: definedOf(headers),
          body: text,
          tookMs: performance.now() - startMs,
        };
      } catch (error) {
        return failureOf(signal.aborted ? signal.reason : error, performance.now() - startMs);
      }
    },
    async close() {
      await Promise.all([keeping.destroy(), closing.destroy()]);
    },
  };
}

async function readBeginning(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop ends the response.
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_BODY_CHARS) break;
  }
  return Buffer.concat(chunks).toString("utf8").slice(0, MAX_BODY_CHARS);
}

function definedOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string | readonly string[]> {
  const defined: Record<string, string | readonly string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined;
}
