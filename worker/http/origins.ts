/**
 * Which web pages may do what here (CORS): any origin may use the server without credentials, because IDEs embed clients
 * anywhere; cookies count only for our own origin and those of `CT_CORS_ALLOWED_ORIGINS`.
 */
import type { IncomingMessage } from "node:http";
import { forwardedScheme } from "../../shared/net/forwarding.ts";

export interface Origins {
  /** CORS fields of the answer to `req`. */
  fields(req: Head): Record<string, string>;
  /** Fields of the answer to a preflight for a path with these methods, beside `fields`. */
  preflightFields(methods: readonly string[]): Record<string, string>;
  /**
   * Whether a cookie that came with `req` speaks for its sender: not when a page of somebody else made the browser send
   * it, which could otherwise act in the user's name without reading the answer (CSRF).
   */
  trustsCookiesOf(req: Head): boolean;
}

/** Forwarding fields must have been removed where no balancer vouches for them. */
export type Head = Pick<IncomingMessage, "headers">;

/** What our clients send beyond the fields that need no permission. */
const CLIENT_FIELDS =
  "x-oct-jwt, x-oct-public-key, x-oct-client, x-oct-compression, content-type, ctstickiness";
/** Browsers ask again after this; the answer depends on the version only. */
const PREFLIGHT_AGE_S = "600";

export function createOrigins(settings: {
  /** Of `CT_SERVER_URL`. */
  readonly serverOrigin: string | undefined;
  readonly allowedOrigins: readonly string[];
}): Origins {
  const allowed = new Set(settings.allowedOrigins.map((origin) => origin.toLowerCase()));
  if (settings.serverOrigin !== undefined) allowed.add(settings.serverOrigin);

  /** Exact match of whole origins: parts of host names are how such lists are fooled. */
  const isOurs = (req: Head, origin: string): boolean =>
    allowed.has(origin.toLowerCase()) || origin.toLowerCase() === ownOrigin(req);

  return {
    fields(req) {
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
    preflightFields: (methods) => ({
      "access-control-allow-methods": methods.join(", "),
      "access-control-allow-headers": CLIENT_FIELDS,
      "access-control-max-age": PREFLIGHT_AGE_S,
    }),
    trustsCookiesOf(req) {
      const { origin } = req.headers;
      if (origin !== undefined) return isOurs(req, origin);
      // A browser that loads an image or follows a link names no origin, but says this. Others say nothing.
      const site = req.headers["sec-fetch-site"];
      return site === undefined || site === "same-origin" || site === "none";
    },
  };
}

/** Where the client believes to be, for URLs that it is given; a host name that is none is not repeated to it. */
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

/** Where the client believes this server to be: as the operator says, else as the client reached it. */
export function placeOf(
  req: Head,
  serverUrl: string | undefined,
): {
  /** Without a slash at its end. */
  readonly baseUrl: string;
  /** The path of `baseUrl`. */
  readonly basePath: string;
} {
  const baseUrl = (serverUrl ?? publicOrigin(req)).replace(/\/+$/, "");
  return { baseUrl, basePath: new URL(baseUrl).pathname.replace(/\/+$/, "") };
}

/** Where the client believes to be. */
function ownOrigin(req: Head): string | undefined {
  const host = firstOf(req.headers["x-forwarded-host"]) ?? req.headers.host;
  if (host === undefined) return undefined;
  const proto = forwardedScheme(firstOf(req.headers["x-forwarded-proto"])) ?? "http";
  return `${proto}://${host}`.toLowerCase();
}

function firstOf(value: string | string[] | undefined): string | undefined {
  const list = Array.isArray(value) ? value[0] : value;
  return list?.split(",", 1)[0]?.trim() || undefined;
}
