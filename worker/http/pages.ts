/**
 * The files that the worker serves as they are: the page to sign in with, and what belongs to it and to the page at `/`.
 * Read once at start; a browser gets no more rights on them than they need.
 */
import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import type { SignInWay } from "../login/form-provider.ts";

/** Beside this file's folder, in the sources and in dist/ (edge/build.mjs copies them). */
const FOLDER = new URL("../web/", import.meta.url);

/**
 * Nothing but our own files, nobody's frame, no form that goes elsewhere; and no referrer, because the address of the
 * sign-in page holds a token.
 */
const PAGE_FIELDS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
/** Two years, as browsers' lists of such hosts ask for. */
const HSTS = "max-age=63072000";

/** What goes with a page of ours and with the files that belong to it. */
export function pageHeaders(settings: {
  readonly serverUrl: string | undefined;
}): Record<string, string> {
  return {
    ...PAGE_FIELDS,
    // Only when the operator says that this host is reached by HTTPS: it would also bind plain ports of the same host.
    ...(settings.serverUrl !== undefined && { "strict-transport-security": HSTS }),
  };
}

export function addPages(needs: {
  readonly app: FastifyInstance;
  readonly ways: readonly Pick<SignInWay, "name">[];
  readonly settings: {
    readonly serverUrl: string | undefined;
    readonly loginUnverifiedEmail: "drop" | "keep";
  };
}): void {
  const { app, ways, settings } = needs;
  const fields = pageHeaders(settings);
  const active = new Set<string>(ways.length === 0 ? ["none"] : ways.map((way) => way.name));
  if (settings.loginUnverifiedEmail === "keep") active.add("email");
  const files = [
    { path: "/login.html", type: "text/html", text: keepSections(readPage("login.html"), active) },
    { path: "/home.js", type: "text/javascript", text: readPage("home.js") },
    { path: "/home.css", type: "text/css", text: readPage("home.css") },
    { path: "/login.js", type: "text/javascript", text: readPage("login.js") },
    { path: "/login.css", type: "text/css", text: readPage("login.css") },
    { path: "/login.svg", type: "image/svg+xml", text: readPage("login.svg") },
  ];
  for (const { path, type, text } of files) {
    app.get(path, (_request, reply) =>
      reply.headers({ ...fields, "content-type": `${type}; charset=utf-8` }).send(text),
    );
  }
}

function readPage(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

/** A page without the sections (`<!-- if NAME -->` to `<!-- end NAME -->`) of what is off; they may be nested. */
function keepSections(page: string, active: ReadonlySet<string>): string {
  return page.replace(
    / *<!-- if (\w+) -->\n([\s\S]*?) *<!-- end \1 -->\n/g,
    (_, name: string, section: string) => (active.has(name) ? keepSections(section, active) : ""),
  );
}
