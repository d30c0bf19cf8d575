/** Requests to servers of others: over the proxy and with the authorities that the operator has set. */
import { rootCertificates } from "node:tls";
import type { Dispatcher } from "undici";

/** As the global `fetch`, with the options that undici's has. */
export type OutboundFetch = (url: string, init: object) => Promise<Response>;

/**
 * `proxy`: else HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment count. `authority`: PEM certificates that are trusted
 * beside the public ones.
 */
export function createOutboundFetch(options: {
  readonly proxy: string | undefined;
  readonly authority: string | undefined;
}): OutboundFetch {
  let dispatcher: Dispatcher | undefined;
  return async (url, init) => {
    // Loaded by the first request: most workers make none. The bundle of a CommonJS module has the default export only.
    const { EnvHttpProxyAgent, fetch } = (await import("undici")).default;
    const { proxy, authority } = options;
    const tls = authority === undefined ? {} : { ca: [...rootCertificates, authority] };
    dispatcher ??= new EnvHttpProxyAgent({
      ...(proxy !== undefined && { httpProxy: proxy, httpsProxy: proxy }),
      connect: tls,
      requestTls: tls,
    });
    const request = { ...init, dispatcher } as Parameters<typeof fetch>[1];
    return (await fetch(url, request)) as unknown as Response;
  };
}
