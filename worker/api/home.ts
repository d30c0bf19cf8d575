/**
 * The page at `/`, where the start of the edge, invitations (`https://edge/#ROOM`) and health checks of load balancers
 * lead: what this server is, and what to enter in an IDE.
 */
import type { FastifyInstance } from "fastify";
import { html } from "../clients/serve/html.ts";
import { placeOf } from "../http/origins.ts";
import { pageHeaders } from "../http/pages.ts";

interface HomePage {
  /** What to enter in an IDE. */
  readonly serverUrl: string;
  /** The path of this server, for links within the page. */
  readonly basePath: string;
  readonly owner: string;
  readonly offersPlugins: boolean;
}

export function addHomePage(deps: {
  readonly app: FastifyInstance;
  readonly offersPlugins: boolean;
  readonly settings: { readonly serverUrl: string | undefined; readonly serverOwner: string };
}): void {
  const { app, offersPlugins, settings } = deps;
  const fields = { ...pageHeaders(settings), "content-type": "text/html; charset=utf-8" };
  app.get("/", ({ raw }, reply) => {
    const { baseUrl, basePath } = placeOf(raw, settings.serverUrl);
    const page = { serverUrl: baseUrl, basePath, owner: settings.serverOwner, offersPlugins };
    return reply.headers(fields).send(homePage(page));
  });
}

/** Links are absolute, because the page is also shown at a base path without a slash at its end (`/k/KEY`). */
function homePage({ serverUrl, basePath, owner, offersPlugins }: HomePage): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="A server for live collaborative coding">
<title>CodeTogether edge</title>
<link rel="icon" href="${basePath}/login.svg" type="image/svg+xml">
<link rel="stylesheet" href="${basePath}/home.css">
<script type="module" src="${basePath}/home.js"></script>
</head>
<body>
<main>
<header>
<img src="${basePath}/login.svg" alt="" width="48" height="48">
<div>
<h1>CodeTogether edge</h1>
<p>Live collaborative coding from your own IDE${owner !== "Unknown" && html`, on the server of ${owner}`}</p>
</div>
</header>
<ol>
<li>
<h2>Install the plugin</h2>
<p><em>Open Collaboration Tools</em> for VS Code, JetBrains IDEs or Eclipse${
    offersPlugins
      ? html`. <a href="${basePath}/clients">See what this server offers</a>.`
      : ", from the marketplace of your IDE."
  }</p>
</li>
<li>
<h2>Set its server URL</h2>
<pre id="server-url">${serverUrl}</pre>
</li>
<li>
<h2>Create a session, or join one</h2>
<p>Who creates a session sends the invitation to the others and approves each of them. What you share is encrypted from
IDE to IDE; this server only passes it on.</p>
</li>
</ol>
<footer><a href="${basePath}/dashboard/">Dashboard</a> for operators</footer>
</main>
</body>
</html>
`.text;
}
