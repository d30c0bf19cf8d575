/** Requests to the deployment, whose certificate is judged elsewhere and trusted here: one fault must not hide the others. */
import { Agent, request } from "undici";
import type { HttpAnswer } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { failureOf } from "./failures.ts";

export type HttpProbe = ReturnType<typeof createHttpProbe>;

interface RequestOptions {
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

export function createHttpProbe(target: Target, signal: AbortSignal) {
  const agentOptions = { connect: { rejectUnauthorized: false, timeout: CONNECT_TIMEOUT_MS } };
  const keeping = new Agent(agentOptions);
  const closing = new Agent({ ...agentOptions, pipelining: 0 });
  return {
    /**
     * Sends one request, to a path below the target or to a whole URL, and reads the beginning of the response. Follows no
     * redirect. Never rejects.
     */
    async send(where: string, options: RequestOptions = {}): Promise<HttpAnswer> {
      const { fresh, timeoutMs = TIMEOUT_MS, ...rest } = options;
      const startMs = performance.now();
      const limit = limitTime([signal, rest.signal], timeoutMs);
      try {
        const url = where.startsWith("/") ? target.baseUrl + where : where;
        const { statusCode, headers, body } = await request(url, {
          method: rest.method ?? "GET",
          headers: { "user-agent": "ct-edge verify", ...rest.headers },
          body: rest.body ?? null,
          dispatcher: fresh ? closing : keeping,
          signal: limit.signal,
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        });
        const text = await readBeginning(body);
        return {
          outcome: "response",
          status: statusCode,
          headers,
          body: text,
          tookMs: performance.now() - startMs,
        };
      } catch (error) {
        const { aborted, reason } = limit.signal;
        return failureOf(aborted ? reason : error, performance.now() - startMs);
      } finally {
        limit.end();
      }
    },
    async close(): Promise<void> {
      await Promise.all([keeping.destroy(), closing.destroy()]);
    },
  };
}

/** As `AbortSignal.any` and `AbortSignal.timeout`, which keep what thousands of requests made of them until the timeout. */
function limitTime(
  signals: readonly (AbortSignal | undefined)[],
  timeoutMs: number,
): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const sources = signals.filter((one) => one !== undefined);
  const abort = (): void => {
    controller.abort(sources.find(({ aborted }) => aborted)?.reason);
  };
  const timer = setTimeout(() => {
    controller.abort(new DOMException("no response in time", "TimeoutError"));
  }, timeoutMs);
  for (const source of sources) {
    if (source.aborted) abort();
    else source.addEventListener("abort", abort, { once: true });
  }
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer);
      for (const source of sources) source.removeEventListener("abort", abort);
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
