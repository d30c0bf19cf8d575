/**
 * Normalizes paths, because clients join a base URL and a path in different ways: `//api/meta` and `/api/meta/` are
 * `/api/meta`. Balancers and workers share this code; if they differed, a path could be routed as one resource and
 * authorized as another. Nothing is decoded: `%2F` belongs to a segment (RFC 3986 §2.2). Pure.
 */

/** Replaces each run of slashes in the path of `target` by one slash. */
export function mergeSlashes(target: string): string {
  const end = endOfPath(target);
  const path = target.slice(0, end);
  return path.includes("//") ? path.replace(/\/{2,}/g, "/") + target.slice(end) : target;
}

/** Removes the trailing slash of the path of `target`, whose slashes were merged; the path `/` stays. */
export function dropTrailingSlash(target: string): string {
  const end = endOfPath(target);
  return end > 1 && target[end - 1] === "/" ? target.slice(0, end - 1) + target.slice(end) : target;
}

function endOfPath(target: string): number {
  const query = target.indexOf("?");
  return query < 0 ? target.length : query;
}
