/**
 * CORS: any origin may use the server without credentials, because IDEs embed clients anywhere; cookies count only from our
 * own origin and those of `CT_CORS_ALLOWED_ORIGINS`.
 */
import type { IncomingMessage } from "node:http";
import { forwardedScheme } from "../../shared/net/forwarding.ts";

export type Origins = ReturnType<typeof createOrigins>;

/** Forwarding headers must have been stripped unless a balancer authenticated the request. */
export type Head = Pick<IncomingMessage, "headers">;

/** Headers that our clients send and that need permission. */
const CLIENT_HEADERS =
  "x-oct-jwt, x-oct-public-key, x-oct-client, x-oct-compression, content-type, ctstickiness";
/** Browsers send a preflight again after this; the response depends on the version only. */
const PREFLIGHT_AGE_S = "600";

export function createOrigins(settings: {
  /** Of `CT_SERVER_URL`. */
  readonly serverOrigin: string | undefined;
  readonly allowedOrigins: readonly string[];
}) {
  const allowed = new Set(settings.allowedOrigins.map((origin) => origin.toLowerCase()));
  if (settings.serverOrigin !== undefined) allowed.add(settings.serverOrigin);

  /** Compares whole origins: matching parts of host names can be fooled. */
  const isOurs = (req: Head, origin: string): boolean =>
    allowed.has(origin.toLowerCase()) || origin.toLowerCase() === ownOrigin(req);

  return {
    /** CORS headers of the response to `req`. */
    fields(req: Head): Record<string, string> {
      const { origin } = req.headers;
      if (origin === undefined || !isOurs(req, origin)) {
        return { vary: "Origin", "access-control-allow-origin": "*" };
      }
      return {
        vary: "Origin",
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
      };
    },
    /** Headers of the response to a preflight for a path with these methods, beside `fields`. */
    preflightFields: (methods: readonly string[]) => ({
      "access-control-allow-methods": methods.join(", "),
      "access-control-allow-headers": CLIENT_HEADERS,
      "access-control-max-age": PREFLIGHT_AGE_S,
    }),
    /**
     * Whether the cookie in `req` authenticates its sender: not when a page of a foreign origin made the browser send it,
     * because such a page could act in the user's name without reading the response (CSRF).
     */
    trustsCookiesOf(req: Head): boolean {
      const { origin } = req.headers;
      if (origin !== undefined) return isOurs(req, origin);
      // Browsers that load an image or follow a link send no Origin, but this header. Other clients send neither.
      const site = req.headers["sec-fetch-site"];
      return site === undefined || site === "same-origin" || site === "none";
    },
    /** Whether the client reached this server by HTTPS. */
    isSecure: (req: Head) => ownScheme(req) === "https",
  };
}

/** Our origin as the client sees it, for URLs in responses. A malformed host name is not echoed. */
export function publicOrigin(req: Head): string {
  const origin = ownOrigin(req);
  return origin !== undefined &&
    /^https?:\/\/[A-Za-z0-9._-]+(:\d{1,5})?$|^https?:\/\/\[[0-9a-f:.]+\](:\d{1,5})?$/.test(
      origin,
    ) &&
    URL.canParse(origin)
    ? origin
    : "http://localhost";
}

/** This server's URL: `CT_SERVER_URL`, else as the client reached it. */
export function placeOf(
  req: Head,
  serverUrl: string | undefined,
): {
  /** Without a trailing slash. */
  readonly baseUrl: string;
  /** The path of `baseUrl`. */
  readonly basePath: string;
} {
  const baseUrl = (serverUrl ?? publicOrigin(req)).replace(/\/+$/, "");
  return { baseUrl, basePath: new URL(baseUrl).pathname.replace(/\/+$/, "") };
}

function ownOrigin(req: Head): string | undefined {
  const host = firstOf(req.headers["x-forwarded-host"]) ?? req.headers.host;
  if (host === undefined) return undefined;
  return `${ownScheme(req)}://${host}`.toLowerCase();
}

function ownScheme(req: Head): string {
  return forwardedScheme(firstOf(req.headers["x-forwarded-proto"])) ?? "http";
}

function firstOf(value: string | string[] | undefined): string | undefined {
  const list = Array.isArray(value) ? value[0] : value;
  return list?.split(",", 1)[0]?.trim() || undefined;
}
