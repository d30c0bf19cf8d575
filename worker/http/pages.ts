/**
 * Static files: the sign-in page and what belongs to it. Read once at start, and served with a strict content security
 * policy.
 */
import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import { productFile } from "../../shared/base/product-files.ts";
import type { IdentityProvider } from "../../shared/settings/identity-providers.ts";
import type { SignInWay } from "../login/form-provider.ts";
import { type Html, html } from "./html.ts";

const FOLDER = productFile("worker/web/");

/**
 * Only our own files, no framing, no form to another origin; no referrer, because the URL of the sign-in page contains a
 * token.
 */
const PAGE_HEADERS = {
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
/** Two years, as the browsers' preload lists require. */
const HSTS = "max-age=63072000";

/** Headers of our pages and of the files that belong to them. `styleNonce` admits style elements of the page's script. */
export function pageHeaders(
  settings: { readonly serverUrl: string | undefined },
  styleNonce?: string,
): Record<string, string> {
  const styles = styleNonce === undefined ? "'self'" : `'self' 'nonce-${styleNonce}'`;
  return {
    "content-security-policy": `default-src 'none'; script-src 'self'; style-src ${styles}; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'`,
    ...PAGE_HEADERS,
    // Only when the operator has set the HTTPS URL: HSTS also applies to plain ports of the same host.
    ...(settings.serverUrl !== undefined && { "strict-transport-security": HSTS }),
  };
}

export function addPages(deps: {
  readonly app: FastifyInstance;
  readonly ways: readonly Pick<SignInWay, "name">[];
  readonly identityProviders: readonly Pick<IdentityProvider, "id" | "label">[];
  readonly settings: {
    readonly serverUrl: string | undefined;
    readonly loginUnverifiedEmail: "drop" | "keep";
  };
}): void {
  const { app, ways, identityProviders, settings } = deps;
  const headers = pageHeaders(settings);
  const active = new Set<string>(ways.map((way) => way.name));
  if (identityProviders.length > 0) active.add("web");
  if (active.size === 0) active.add("none");
  if (settings.loginUnverifiedEmail === "keep") active.add("email");
  const files = [
    {
      path: "/login.html",
      type: "text/html",
      text: keepSections(readPage("login.html"), active).replace(
        "<!-- providers -->",
        // A function: a label may have characters that `replace` takes for patterns.
        () => linksTo(identityProviders).text,
      ),
    },
    { path: "/login.js", type: "text/javascript", text: readPage("login.js") },
    { path: "/login.css", type: "text/css", text: readStyle("login.css") },
    { path: "/login.svg", type: "image/svg+xml", text: readPage("login.svg") },
  ];
  for (const { path, type, text } of files) {
    app.get(path, (_request, reply) =>
      reply.headers({ ...headers, "content-type": `${type}; charset=utf-8` }).send(text),
    );
  }
}

/** The page's script adds the token. */
function linksTo(providers: readonly Pick<IdentityProvider, "id" | "label">[]): Html {
  const links = providers.map(
    ({ id, label }) =>
      html`<a class="provider" data-endpoint="api/login/${id}">Sign in with ${label}</a>\n`,
  );
  return html`${links}`;
}

/** A style sheet of ours, behind the rules that all pages share. */
export function readStyle(name: string): string {
  return `${readPage("base.css")}\n${readPage(name)}`;
}

function readPage(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

/** Removes the sections `<!-- if NAME -->` to `<!-- end NAME -->` whose name is not active; they may be nested. */
function keepSections(page: string, active: ReadonlySet<string>): string {
  return page.replace(
    / *<!-- if (\w+) -->\n([\s\S]*?) *<!-- end \1 -->\n/g,
    (_, name: string, section: string) => (active.has(name) ? keepSections(section, active) : ""),
  );
}
