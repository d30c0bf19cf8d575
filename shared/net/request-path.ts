/**
 * One form for the many ways in which clients join a base URL and a path: `//api/meta` and `/api/meta/` are `/api/meta`.
 * Balancers find keys in this form and workers route by it; if they differed, a path could be routed as one thing and
 * authorised as another. Nothing is decoded: `%2F` is a character of a segment (RFC 3986 §2.2). Pure.
 */

/** `target` with each run of slashes in its path as one slash; the query stays as it is. */
export function mergeSlashes(target: string): string {
  const end = endOfPath(target);
  const path = target.slice(0, end);
  return path.includes("//") ? path.replace(/\/{2,}/g, "/") + target.slice(end) : target;
}

/** `target`, whose slashes were merged, without the slash at the end of its path; the path `/` stays. */
export function dropTrailingSlash(target: string): string {
  const end = endOfPath(target);
  return end > 1 && target[end - 1] === "/" ? target.slice(0, end - 1) + target.slice(end) : target;
}

function endOfPath(target: string): number {
  const question = target.indexOf("?");
  return question < 0 ? target.length : question;
}
