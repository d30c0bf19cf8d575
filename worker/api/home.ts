/**
 * The page at `/`: what this server is, and what to enter in an IDE. The start of the edge, invitations
 * (`https://edge/#ROOM`) and health checks of load balancers lead here.
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
  const headers = { ...pageHeaders(settings), "content-type": "text/html; charset=utf-8" };
  app.get("/", ({ raw }, reply) => {
    const { baseUrl, basePath } = placeOf(raw, settings.serverUrl);
    const page = { serverUrl: baseUrl, basePath, owner: settings.serverOwner, offersPlugins };
    return reply.headers(headers).send(homePage(page));
  });
}

/** Links are absolute, because the page is also served at a base path without a trailing slash (`/k/KEY`). */
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
<p>Live collaborative coding from your own IDE${owner !== "Unknown" && html`, hosted by ${owner}`}</p>
</div>
</header>
<ol>
<li>
<h2>Install the plugin</h2>
<p><em>Open Collaboration Tools</em> for VS Code, JetBrains IDEs or Eclipse${
    offersPlugins
      ? html`. <a href="${basePath}/clients">Download it from this server</a>.`
      : ", from the marketplace of your IDE."
  }</p>
</li>
<li>
<h2>Set the plugin’s server URL</h2>
<pre id="server-url">${serverUrl}</pre>
</li>
<li>
<h2>Create or join a session</h2>
<p>The host of a session sends an invitation to the guests and approves each of them. What you share is end-to-end encrypted
between the IDEs; this server only relays it.</p>
</li>
</ol>
<footer><a href="${basePath}/dashboard/">Dashboard</a> for operators</footer>
</main>
</body>
</html>
`.text;
}
