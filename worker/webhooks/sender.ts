/**
 * Sends one event to one receiver: one attempt, which ends within `TIME_LIMIT_MS`. Redirects are not followed, and little of a
 * response is read.
 */
import type { lookup as systemLookup } from "node:dns";
import { rootCertificates } from "node:tls";
import type { Dispatcher } from "undici";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { VERSION } from "../../shared/process/version.ts";
import {
  type AddressRules,
  checkHost,
  createLookup,
  RefusedAddressError,
} from "./receiver-addresses.ts";
import type { Receiver } from "./receivers.ts";
import { signedHeaders } from "./signature.ts";

const TIME_LIMIT_MS = 10_000;
/** More of a response is not read: its connection is closed instead. */
const MAX_RESPONSE_BYTES = 4096;
const MAX_RETRY_AFTER_S = 600;

export type FailureCause =
  | "address refused"
  | "no connection"
  | "TLS"
  | "timeout"
  | "connection closed"
  | "redirect"
  | "gone"
  | "busy"
  | "status 4xx"
  | "status 5xx"
  | "status other";

export type Attempt =
  | { readonly outcome: "accepted"; readonly status: number }
  | Failure
  /** By `abort`: the receiver may have the event or not. */
  | { readonly outcome: "aborted" };

export interface Failure {
  readonly outcome: "failed";
  readonly cause: FailureCause;
  /** For operators: what happened, with the status or the system's error. */
  readonly reason: string;
  /** The receiver has asked to wait for that long. */
  readonly retryAfterMs?: number;
}

export interface Sender {
  /** Never rejects. */
  send(delivery: { readonly id: string; readonly body: string }): Promise<Attempt>;
  /** Ends the attempts that are under way; others may follow. */
  abort(): void;
  close(): Promise<void>;
}

export interface SenderDeps {
  readonly receiver: Receiver;
  readonly rules: AddressRules;
  /** Else HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment count. A proxy resolves names itself. */
  readonly proxy: string | undefined;
  /** Most connections at a time. */
  readonly connections: number;
  readonly clock: Pick<Clock, "wallMs" | "after">;
  readonly timeLimitMs?: number;
  /** Instead of the system's. */
  readonly lookup?: typeof systemLookup;
}

export function createSender(deps: SenderDeps): Sender {
  const { receiver, rules, clock } = deps;
  const timeLimitMs = deps.timeLimitMs ?? TIME_LIMIT_MS;
  let dispatcher: Dispatcher | undefined;

  async function open(): Promise<Dispatcher> {
    // The bundle of a CommonJS module has the default export only.
    const { EnvHttpProxyAgent } = (await import("undici")).default;
    const { authority, url } = receiver;
    const tls = authority === undefined ? {} : { ca: [...rootCertificates, authority] };
    return new EnvHttpProxyAgent({
      ...(deps.proxy !== undefined && { httpProxy: deps.proxy, httpsProxy: deps.proxy }),
      connect: {
        ...tls,
        lookup: createLookup(url.protocol, rules, deps.lookup),
        timeout: timeLimitMs,
      },
      requestTls: tls,
      connections: deps.connections,
      pipelining: 1,
    });
  }

  async function attempt(
    { id, body }: { readonly id: string; readonly body: string },
    signal: AbortSignal,
  ): Promise<Attempt> {
    await unlessAborted(checkHost(receiver.url, rules, deps.lookup), signal);
    dispatcher ??= await open();
    const response = await dispatcher.request({
      origin: receiver.url.origin,
      path: `${receiver.url.pathname}${receiver.url.search}`,
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": `codetogether-edge/${VERSION}`,
        ...signedHeaders(
          { id, body, atSeconds: Math.floor(clock.wallMs() / 1000) },
          receiver.secrets,
        ),
      },
      body,
      signal,
      headersTimeout: timeLimitMs,
      bodyTimeout: timeLimitMs,
    });
    await discard(response.body);
    return judge(response.statusCode, response.headers);
  }

  /** A controller for each: a signal that outlives its requests would keep something of each of them. */
  const underWay = new Set<AbortController>();

  function abort(): void {
    for (const controller of underWay) controller.abort("stopped");
  }

  return {
    async send(delivery) {
      const controller = new AbortController();
      const { signal } = controller;
      underWay.add(controller);
      const timer = clock.after(timeLimitMs, () => controller.abort("late"));
      try {
        return await attempt(delivery, signal);
      } catch (error) {
        if (signal.reason === "stopped") return { outcome: "aborted" };
        if (signal.reason === "late") {
          return failed("timeout", `no response within ${timeLimitMs / 1000} s`);
        }
        return explain(error);
      } finally {
        timer.cancel();
        underWay.delete(controller);
      }
    },
    abort,
    async close() {
      abort();
      await dispatcher?.destroy();
    },
  };
}

/** Rejects when the signal is aborted: DNS can take longer than an attempt may, and cannot be stopped. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new Error(`aborted: ${signal.reason}`));
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Reads the rest of a short response, so that its connection can be used again. The status counts, whatever follows it. */
async function discard(body: Dispatcher.ResponseData["body"]): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      // Leaving the loop closes the connection.
      if (bytes > MAX_RESPONSE_BYTES) return;
    }
  } catch {
    // It was cut off, or slower than the time limit.
  }
}

function judge(status: number, headers: Dispatcher.ResponseData["headers"]): Attempt {
  if (status >= 200 && status < 300) return { outcome: "accepted", status };
  const reason = `status ${status}`;
  if (status >= 300 && status < 400) {
    return failed("redirect", `${reason}: redirects are not followed; set the final URL`);
  }
  if (status === 410) return failed("gone", `${reason}: the receiver wants no more events`);
  const retryAfterMs = retryAfter(headers["retry-after"]);
  const later = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 408 || status === 425 || status === 429) {
    return { ...failed("busy", reason), ...later };
  }
  if (status >= 500 && status < 600) return { ...failed("status 5xx", reason), ...later };
  return failed(status >= 400 && status < 500 ? "status 4xx" : "status other", reason);
}

/** In seconds, or as a date, which would depend on two clocks: that is ignored. */
function retryAfter(value: string | string[] | undefined): number | undefined {
  const seconds = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds, MAX_RETRY_AFTER_S) * 1000;
}

function failed(cause: FailureCause, reason: string): Failure {
  return { outcome: "failed", cause, reason };
}

const NO_CONNECTION = new Set([
  ...["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"],
  ...["UND_ERR_CONNECT_TIMEOUT", "EADDRNOTAVAIL", "EMFILE", "ENFILE", "EACCES", "EPERM"],
]);

function explain(error: unknown): Failure {
  if (error instanceof RefusedAddressError) return failed("address refused", error.message);
  const code = errorCode(error) ?? "";
  const reason = describeError(error) || code || "the connection failed";
  if (NO_CONNECTION.has(code)) return failed("no connection", reason);
  if (/TIMEOUT/.test(code)) return failed("timeout", reason);
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code)) return failed("TLS", reason);
  return failed("connection closed", reason);
}
