/** The paths of the worker's HTTP API: their methods, and the canonical form of a request's target. */
import type { FastifyInstance } from "fastify";
import { isSessionId, type SessionId } from "../../shared/base/ids.ts";
import { dropTrailingSlash, mergeSlashes } from "../../shared/net/request-path.ts";

/** The methods of the path of `url`; undefined when there is no such path. */
export type MethodsOf = (url: string) => readonly string[] | undefined;

/**
 * Collects the routes that are added to `app` from now on, to answer preflights and 405 with `Allow` (RFC 9110 §15.5.6). OPTIONS
 * is not among the methods: each path has it.
 */
export function collectMethods(app: FastifyInstance): MethodsOf {
  const routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];
  app.addHook("onRoute", ({ url, method }) => {
    const methods = [method].flat().filter((one) => one !== "OPTIONS");
    routes.push({ pattern: patternOf(url), methods });
  });
  return (url) => {
    const path = pathOf(url);
    const methods = routes.flatMap((route) => (route.pattern.test(path) ? route.methods : []));
    return methods.length === 0 ? undefined : [...new Set(methods)];
  };
}

/** What the router matches for a route's path: `:name` one segment, `*` the rest. */
function patternOf(path: string): RegExp {
  const segments = path.split("/").map((segment) => {
    if (segment === "*") return ".*";
    return segment.startsWith(":") ? "[^/]+" : segment.replace(/[^\w-]/g, "\\$&");
  });
  return new RegExp(`^${segments.join("/")}$`);
}

/** `url` up to its query. */
export function pathOf(url: string): string {
  const question = url.indexOf("?");
  return question < 0 ? url : url.slice(0, question);
}

export function isSocketPath(path: string): boolean {
  return path === "/socket.io";
}

// --- canonical form ---

/** Their pages load files by relative URLs, so the trailing slash matters. */
const FOLDERS: ReadonlySet<string> = new Set(["/dashboard/", "/logs/"]);

/**
 * The canonical form of a request target, which is routed, authorized and logged: without `basePath`, without a prefix
 * `/k/<session id>`, with duplicate slashes merged, and without a trailing slash. Clients join a base URL and a path in many
 * ways.
 *
 * Balancers strip a key only at the start of a path. It is also found behind `basePath`, if the proxy in front does not
 * strip that, and behind another key: a page at `/k/KEY/` connects to `/k/KEY/k/<session id>/socket.io`.
 */
export function readTarget(
  url: string,
  basePath: string,
): { readonly target: string; readonly sessionId: SessionId | undefined } {
  const below = withoutBasePath(mergeSlashes(url), basePath);
  const [prefix = "", key] = KEY_PREFIX.exec(below) ?? [];
  const sessionId = key !== undefined && isSessionId(key) ? key : undefined;
  const rest = below.slice(prefix.length);
  const target = rest.startsWith("/") ? rest : `/${rest}`;
  return {
    target: FOLDERS.has(pathOf(target)) ? target : dropTrailingSlash(target),
    sessionId,
  };
}

/** The last of several counts. */
const KEY_PREFIX = /^(?:\/k\/([A-Za-z0-9]{24})(?=[/?]|$))+/;

/** The path of `CT_SERVER_URL` as `readTarget` takes it. */
export function basePathOf(serverUrl: URL | undefined): string {
  return mergeSlashes(serverUrl?.pathname ?? "").replace(/\/$/, "");
}

function withoutBasePath(url: string, basePath: string): string {
  if (basePath === "" || !url.startsWith(basePath)) return url;
  const rest = url.slice(basePath.length);
  if (rest === "" || rest.startsWith("?")) return `/${rest}`;
  return rest.startsWith("/") ? rest : url;
}
