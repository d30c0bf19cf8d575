/** The paths of the worker's HTTP API and their methods, to answer preflights and 405 with `Allow` (RFC 9110 §15.5.6). Pure. */
import { isSessionId, type SessionId } from "../../shared/base/ids.ts";
import { dropTrailingSlash, mergeSlashes } from "../../shared/net/request-path.ts";

const METHODS_BY_PATH = {
  "/": ["GET", "HEAD"],
  "/api/meta": ["GET", "HEAD"],
  "/api/login/initial": ["POST"],
  "/api/login/poll/:token": ["POST"],
  "/api/login/simple": ["POST"],
  "/api/login/apikey": ["POST"],
  "/api/login/validate": ["POST"],
  "/api/logout": ["GET"],
  "/api/session/create": ["POST"],
  "/api/session/join/:room": ["POST"],
  "/api/session/poll/:token": ["POST"],
  "/metrics": ["GET", "HEAD"],
  "/dashboard": ["GET", "HEAD"],
  "/dashboard/": ["GET", "HEAD"],
  "/dashboard/*": ["GET", "HEAD", "POST"],
  "/logs": ["GET", "HEAD"],
  "/logs/": ["GET", "HEAD"],
  "/logs/*": ["GET", "HEAD"],
  "/login.html": ["GET", "HEAD"],
  "/app/:file": ["GET", "HEAD"],
  "/join": ["GET", "HEAD"],
  "/join/:room": ["GET", "HEAD"],
  "/login.js": ["GET", "HEAD"],
  "/login.css": ["GET", "HEAD"],
  "/login.svg": ["GET", "HEAD"],
  "/clients": ["GET", "HEAD"],
  "/clients/clients.css": ["GET", "HEAD"],
  "/clients/downloads.csv": ["GET", "HEAD"],
  "/clients/icons/:file": ["GET", "HEAD"],
  "/clients/intellij/:file": ["GET", "HEAD"],
  "/clients/vscode/:file": ["GET", "HEAD"],
  "/clients/vscode/gallery/extensionquery": ["POST"],
  "/clients/vscode/gallery/vscode/:publisher/:name/latest": ["GET", "HEAD"],
  "/clients/vscode/gallery/publishers/:publisher/vsextensions/:name/:version/vspackage": [
    "GET",
    "HEAD",
  ],
  "/clients/vscode/gallery/publishers/:publisher/extensions/:name/:version/stats": ["POST"],
  "/clients/vscode/gallery/itemName/:item/version/:version/statType/:type/vscodewebextension": [
    "POST",
  ],
  "/clients/vscode/gallery/assets/:publisher/:name/:version/:platform/:type": ["GET", "HEAD"],
  "/clients/eclipse/*": ["GET", "HEAD"],
  "/socket.io": ["GET", "POST"],
} as const satisfies Record<string, readonly string[]>;

const patterns = Object.entries(METHODS_BY_PATH).map(([path, methods]) => ({
  path: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/:\w+/g, "[^/]+").replace("*", ".+")}$`),
  methods,
}));

/** The methods of the path of `url`; undefined when there is no such path. */
export function methodsOf(url: string): readonly string[] | undefined {
  const path = pathOf(url);
  return patterns.find((one) => one.path.test(path))?.methods;
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
