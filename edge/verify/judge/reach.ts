/** Judges whether an edge responds at all, its certificate and its clock. Pure. */

import { z } from "zod";
import { counted } from "../../../shared/base/counted.ts";
import { readJson } from "../../../shared/base/json.ts";
import { broken, held, unknown, type Verdict } from "../model/finding.ts";
import { type HttpAnswer, headerValues, type Responded } from "../model/observations.ts";
import type { CertificateAnswer } from "../probes/certificate.ts";
import { doesNotRespond } from "./no-response.ts";

const metaSchema = z.object({ version: z.string(), transports: z.array(z.unknown()) });
const pageSchema = z.object({ serverUrl: z.string() });

// --- edge ---

/** `meta`: the response to /api/meta. */
export function judgeEdge(meta: HttpAnswer): Verdict {
  if (meta.outcome === "failed") return doesNotRespond(meta);
  const version = protocolVersionOf(meta);
  if (version === undefined) return broken(...whatResponds(meta));
  return held(`it speaks protocol ${version}`);
}

/** Undefined unless it is the response of an OCT server to /api/meta. */
export function protocolVersionOf(meta: HttpAnswer): string | undefined {
  if (meta.outcome !== "response" || meta.status !== 200) return undefined;
  return readJson(metaSchema, meta.body)?.version;
}

/** What the edge takes for its URL, as its page says; undefined when it is not the page of an edge. */
export function serverUrlOf(page: HttpAnswer): string | undefined {
  if (page.outcome !== "response" || page.status !== 200) return undefined;
  const content = /<meta name="ct-edge" content="([^"]*)">/.exec(page.body)?.[1];
  if (content === undefined) return undefined;
  return readJson(pageSchema, unescapeHtml(content))?.serverUrl;
}

function unescapeHtml(text: string): string {
  return text
    .replaceAll("&#34;", '"')
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

/** Cause and cure for a response that is not an edge's. */
function whatResponds(meta: Responded): [string, string] {
  const { status } = meta;
  const [location] = headerValues(meta.headers, "location");
  const [server] = headerValues(meta.headers, "server");
  const by = server === undefined ? "" : `, by ${server}`;
  if (status >= 300 && status < 400) {
    return [
      `another server redirects to ${location ?? "an unknown place"} (status ${status}${by})`,
      "a sign-in in front or a captive portal: let the edge's paths pass without it, or verify from a network without it; if it only leads to HTTPS, give that URL",
    ];
  }
  if (status === 401 || status === 403 || status === 407) {
    return [
      `something in front asks for a sign-in of its own (status ${status}${by}${titleOf(meta)})`,
      "let the edge's paths pass without it: IDEs cannot sign in there, and the edge has its own sign-in",
    ];
  }
  if (status === 502 || status === 504) {
    return [
      `what is in front does not reach the edge (status ${status}${by})`,
      "check that balancers run and that the address of the upstream is theirs",
    ];
  }
  if (status === 503) {
    return [
      `the edge takes no requests (status 503${by}: ${firstLine(meta.body)})`,
      "`ct-edge list`: are there workers, and do balancers reach them?",
    ];
  }
  return [
    `another server responds (status ${status}${by}${titleOf(meta)})`,
    "correct the URL, or the route of what is in front; all paths below the URL lead to the edge",
  ];
}

const MAX_TITLE_CHARS = 60;

function titleOf({ body }: Responded): string {
  const title = /<title[^>]*>([^<]{1,200})/i.exec(body)?.[1]?.trim().slice(0, MAX_TITLE_CHARS);
  return title ? `, page "${title}"` : "";
}

function firstLine(body: string): string {
  return body.split("\n", 1)[0]?.slice(0, 100).trim() || "no text";
}

// --- certificate ---

const DAY_MS = 86_400_000;
/** As for the warning in the balancers' logs. */
const EXPIRES_SOON_MS = 14 * DAY_MS;

const UNTRUSTED: Readonly<Record<string, [string, string]>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: [
    "it is signed by itself",
    "use a certificate of an authority that clients trust, or give yours with --ca",
  ],
  SELF_SIGNED_CERT_IN_CHAIN: [
    "its authority is not one that this machine trusts",
    "install the authority's certificate at the clients, and give it here with --ca",
  ],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [
    "the chain is incomplete: an intermediate certificate is missing",
    "send the whole chain: the certificate first, then the intermediate ones, in one file",
  ],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [
    "its authority is not known here, or the chain is incomplete",
    "send the whole chain, and give a private authority with --ca",
  ],
};

/** `undefined`: the URL is plain HTTP. */
export function judgeCertificate(
  answer: CertificateAnswer | undefined,
  host: string,
  nowMs: number,
): Verdict {
  if (answer === undefined) {
    const warning = isLoopbackName(host)
      ? undefined
      : "plain HTTP: browsers of other machines have no encryption, and tokens can be read on the way";
    return held("plain HTTP, no certificate", warning);
  }
  if (answer.outcome === "failed") {
    return unknown(
      `it could not be read (${answer.detail})`,
      "check that the URL's port speaks TLS",
    );
  }
  const { problem, names, validToMs, validFromMs, issuer } = answer;
  if (validToMs <= nowMs) {
    return broken(
      `it expired ${days(nowMs - validToMs)} ago`,
      "renew it; a balancer reads the new files after `ct-edge reload` or SIGHUP, other programs after a reload of theirs",
    );
  }
  if (validFromMs > nowMs) {
    return broken(
      "it is not valid yet",
      "check the clock of this machine and of the one that made it",
    );
  }
  if (problem === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return broken(
      `it does not cover ${host}, only ${names || "no name"}`,
      "use a certificate with that name, or a URL with one of its names",
    );
  }
  if (problem !== undefined) {
    const [cause, cure] = UNTRUSTED[problem] ?? [
      `it is not trusted (${problem})`,
      "use a certificate of an authority that clients trust",
    ];
    return broken(cause, cure);
  }
  const left = validToMs - nowMs;
  const warning = left < EXPIRES_SOON_MS ? `it expires in ${days(left)}: renew it` : undefined;
  return held(`of ${issuer || "an unnamed authority"}, valid for ${days(left)}`, warning);
}

function isLoopbackName(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

function days(ms: number): string {
  const count = Math.floor(ms / DAY_MS);
  return count === 0 ? "less than a day" : counted(count, "day");
}

// --- clock ---

/** Tokens tolerate this much. */
const MAX_SKEW_MS = 60_000;

/** By the Date header: a warning only, because either clock may be the wrong one. `nowMs`: when the response came. */
export function judgeClock(meta: HttpAnswer, nowMs: number): Verdict {
  const [date] = meta.outcome === "response" ? headerValues(meta.headers, "date") : [];
  const atMs = date === undefined ? Number.NaN : Date.parse(date);
  if (Number.isNaN(atMs)) {
    return unknown("responses have no Date", "let the header pass in what is in front");
  }
  const skewMs = atMs - nowMs;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) <= MAX_SKEW_MS)
    return held(`within ${Math.max(1, seconds)} s of this machine's`);
  return held(
    "it was compared with this machine's",
    `the edge's clock is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} this machine's: tokens are accepted too long or not yet; run NTP on all machines`,
  );
}
