/** Judges whether the edge knows under which URL people reach it. Pure. */
import { broken, held, unknown, type Verdict } from "../model/finding.ts";
import { type HttpAnswer, headerValues } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { noResponse } from "./no-response.ts";
import { serverUrlOf } from "./reach.ts";

export function judgeServerUrl(page: HttpAnswer, target: Target): Verdict {
  if (page.outcome === "failed") return noResponse(page);
  const seen = serverUrlOf(page);
  if (seen === undefined) {
    return unknown(
      "the page at the URL is not that of an edge",
      "let all paths below the URL pass",
    );
  }
  if (normal(seen) === normal(target.baseUrl)) return held(`it is ${seen}`);
  const cure = `set CT_SERVER_URL=${target.baseUrl} on balancers and workers, or verify ${seen}`;
  // Only an edge with CT_SERVER_URL sends this header.
  const isSet = headerValues(page.headers, "strict-transport-security").length > 0;
  if (isSet) {
    return broken(
      `CT_SERVER_URL is ${seen}, but this URL is ${target.baseUrl}: links, sign-ins and cookies lead elsewhere`,
      cure,
    );
  }
  return broken(
    `the edge takes ${seen} for its URL, because of the Host and X-Forwarded-* that reach it`,
    `${cure}; or let what is in front pass Host and X-Forwarded-Proto on, and name it in CT_TRUSTED_PROXIES`,
  );
}

function normal(url: string): string {
  return URL.canParse(url) ? new URL(url).href.replace(/\/+$/, "") : url;
}

/** A file that the page needs, and the response to it. */
export interface PageFile {
  readonly path: string;
  readonly answer: HttpAnswer;
}

/** The paths of scripts and styles in the page of the edge. */
export function pageFiles(page: HttpAnswer): readonly string[] {
  if (page.outcome !== "response") return [];
  const found = page.body.matchAll(/<(?:script|link)\b[^>]*\s(?:src|href)="(\/[^"]{1,500})"/g);
  return [...found].map(([, path = ""]) => path);
}

export function judgeBasePath(
  page: HttpAnswer,
  files: readonly PageFile[],
  { basePath }: Target,
): Verdict {
  if (page.outcome === "failed") return noResponse(page);
  if (serverUrlOf(page) === undefined) {
    return broken(`the page at the URL is not found (status ${page.status})`, pathCure(basePath));
  }
  if (files.length === 0) {
    return unknown(
      "the edge's page names no files",
      "run `npm run build` and start the programs in dist/",
    );
  }
  for (const { path, answer } of files) {
    if (answer.outcome === "failed") return noResponse(answer);
    if (answer.status !== 200) {
      return broken(`${path} is not found (status ${answer.status})`, pathCure(basePath));
    }
  }
  return held(basePath === "" ? "the URL has no path" : `everything is below ${basePath}`);
}

function pathCure(basePath: string): string {
  return basePath === ""
    ? "let what is in front pass all paths unchanged; with a path in CT_SERVER_URL the edge is below that"
    : `set CT_SERVER_URL with the path ${basePath}, and let what is in front pass it on unchanged`;
}

/** `preflight` and `simple`: of a page of another origin. */
export function judgeCors(preflight: HttpAnswer, simple: HttpAnswer, own: HttpAnswer): Verdict {
  if (preflight.outcome === "failed") return noResponse(preflight);
  if (simple.outcome === "failed") return noResponse(simple);
  if (own.outcome === "failed") return noResponse(own);
  const passCure =
    "let what is in front pass OPTIONS and the Access-Control-* headers of the edge, and add none";
  if (preflight.status !== 200 && preflight.status !== 204) {
    return broken(`a preflight gets status ${preflight.status}`, passCure);
  }
  for (const answer of [preflight, simple]) {
    const origins = headerValues(answer.headers, "access-control-allow-origin");
    if (origins.length > 1 || origins[0]?.includes(",") === true) {
      return broken(`Access-Control-Allow-Origin is there twice: ${origins.join(", ")}`, passCure);
    }
    if (origins[0] !== "*") {
      return broken(
        `Access-Control-Allow-Origin is ${origins[0] ?? "missing"} instead of *`,
        passCure,
      );
    }
    if (headerValues(answer.headers, "access-control-allow-credentials").length > 0) {
      return broken(
        "a page of any origin may send cookies: it could act for those who have signed in",
        "remove Access-Control-Allow-Credentials in what is in front; CT_CORS_ALLOWED_ORIGINS names the pages that may",
      );
    }
  }
  const allowed = headerValues(preflight.headers, "access-control-allow-headers").join(",");
  if (!/\bx-oct-jwt\b/i.test(allowed)) {
    return broken("x-oct-jwt is not among the allowed headers", passCure);
  }
  const [ownOrigin] = headerValues(own.headers, "access-control-allow-origin");
  if (headerValues(own.headers, "access-control-allow-credentials")[0] !== "true") {
    return broken(
      `the edge's own pages count as pages of another origin (allowed: ${ownOrigin ?? "none"})`,
      "set CT_SERVER_URL to this URL, or let what is in front pass Host on",
    );
  }
  return held("any origin without cookies, its own with them");
}
