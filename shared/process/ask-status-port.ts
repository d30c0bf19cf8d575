/** Asks the status port of a process on this machine. */
import { describeError, EdgeError } from "../base/errors.ts";
import { isWildcard, urlHost } from "../net/networks.ts";

/** The status port did not respond, or not with JSON. The message has its URL. */
export class StatusPortError extends EdgeError {
  readonly code = "EDGE_STATUS_PORT";
}

/** Of a port of this machine. `bind`: the address that it listens on; undefined for all of them. */
export function localUrl(bind: string | undefined, port: number): string {
  const host = bind === undefined || isWildcard(bind) ? "127.0.0.1" : bind;
  return `http://${urlHost(host)}:${port}`;
}

const RESPONSE_MS = 5000;

/** Rejects with `StatusPortError`. */
export async function askStatusPort(
  url: string,
  init: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly status: number; readonly body: unknown }> {
  // Most commands never ask. Not by its names: a bundle has none of a CommonJS package.
  const { fetch } = (await import("undici")).default;
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(RESPONSE_MS) });
    return { status: response.status, body: await response.json() };
  } catch (error) {
    // The message of a failed fetch says nothing; its cause does.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new StatusPortError(`${url}: ${describeError(cause)}`);
  }
}
