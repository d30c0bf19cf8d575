/** The deployment that is verified, as the operator names it. Pure. */
export interface Target {
  /** Without a slash at the end: paths are appended. */
  readonly baseUrl: string;
  readonly origin: string;
  /** Empty, or starts with a slash. */
  readonly basePath: string;
  readonly isSecure: boolean;
}

/** Undefined for what is not the URL of an edge. A host alone means HTTPS. */
export function parseTarget(text: string): Target | undefined {
  const given = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(given)) return undefined;
  const url = new URL(given);
  const isHttp = url.protocol === "http:" || url.protocol === "https:";
  if (!isHttp || url.hostname === "" || url.username !== "" || url.password !== "") {
    return undefined;
  }
  if (url.search !== "" || url.hash !== "") return undefined;
  const basePath = url.pathname.replace(/\/+$/, "");
  return {
    baseUrl: url.origin + basePath,
    origin: url.origin,
    basePath,
    isSecure: url.protocol === "https:",
  };
}
