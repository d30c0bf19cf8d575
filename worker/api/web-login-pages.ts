/** What people read while they sign in at an identity provider. Pure. */
import { type Html, html } from "../http/html.ts";
import { pageHeaders } from "../http/pages.ts";
import type { HttpResponse } from "../http/responses.ts";
import type { ProviderProblem } from "../login/identity/provider-error.ts";

interface PageDeps {
  readonly settings: Parameters<typeof pageHeaders>[0];
}

export interface Notice {
  readonly status: number;
  readonly title: string;
  readonly text: string;
}

export const EXPIRED: Notice = {
  status: 400,
  title: "This sign-in is over",
  text: "It has expired, or is complete already. Start it again where you clicked “Sign in”.",
};
export const USED: Notice = {
  status: 400,
  title: "You have been here before",
  text: "This page works once. If you are not signed in yet, start again where you clicked “Sign in”.",
};
export const OTHER_BROWSER: Notice = {
  status: 400,
  title: "This sign-in began in another browser",
  text: "Finish it there, or start it again. If somebody sent you this link, do nothing.",
};
export const FOREIGN_FORM: Notice = {
  status: 403,
  title: "Not signed in",
  text: "This request did not come from the sign-in page, or your browser refuses its cookie. Open the link of your editor again.",
};
export const FOREIGN_OPERATOR_FORM: Notice = {
  status: 403,
  title: "Not signed in",
  text: "This request did not come from the sign-in page, or your browser refuses its cookie. Open the dashboard again.",
};
export const FOREIGN_REDIRECT: Notice = {
  status: 400,
  title: "Not signed in",
  text: "The page that sent you here wants you to return to an address that this server does not know. Its operator can add it to CT_LOGIN_REDIRECTS.",
};
export const CANCELLED: Notice = {
  status: 200,
  title: "Cancelled",
  text: "Nobody was signed in. You can close this page.",
};

export const FAILED: Readonly<Record<ProviderProblem, (label: string) => Notice>> = {
  denied: (label) => ({
    status: 403,
    title: "Not signed in",
    text: `${label} did not sign you in. You can close this page, or start again where you clicked “Sign in”.`,
  }),
  unreachable: (label) => ({
    status: 502,
    title: "Not signed in",
    text: `${label} does not respond as it should. Try again in a moment; if it stays so, contact your administrator.`,
  }),
  invalid: (label) => ({
    status: 502,
    title: "Not signed in",
    text: `What ${label} sent could not be verified. Start again where you clicked “Sign in”; if it stays so, contact your administrator.`,
  }),
};

export function signedIn(name: string): Notice {
  return {
    status: 200,
    title: "You are signed in",
    text: `Welcome, ${name}. You can close this page and go back to your editor.`,
  };
}

/** `root`: see `page`. */
export function notice(
  deps: PageDeps,
  { status, title, text }: Notice,
  root?: string,
): HttpResponse {
  return page(deps, status, title, [html`<p>${text}</p>`], { root });
}

/**
 * `next`: where the browser goes at once. `root`: from the page's address to the server's, because it may be served below a path;
 * by default from one below `/api/login/`.
 */
export function page(
  { settings }: PageDeps,
  status: number,
  title: string,
  parts: readonly Html[],
  {
    next,
    root = "../../",
  }: { readonly next?: string | undefined; readonly root?: string | undefined } = {},
): HttpResponse {
  const body = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${next !== undefined && html`<meta http-equiv="refresh" content="0;url=${next}">`}
<title>${title} · CodeTogether</title>
<link rel="icon" href="${root}login.svg" type="image/svg+xml">
<link rel="stylesheet" href="${root}login.css">
</head>
<body>
<main>
<h1>${title}</h1>
${parts}
</main>
</body>
</html>
`.text;
  return {
    status,
    fields: {
      ...pageHeaders(settings),
      // Without a referrer browsers would send its form with `Origin: null`. Other origins still see none of the URL.
      "referrer-policy": "same-origin",
      "content-type": "text/html; charset=utf-8",
    },
    body,
  };
}
