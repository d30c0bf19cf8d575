/**
 * The page of the browser client: at `/`, with an invitation in the fragment (`/#ROOM`, which servers do not see) or in the
 * query (`/?room=ROOM`), and at `/join/ROOM`. Its script decides what it shows; without one it says what this server is, as it
 * does to health checks of load balancers.
 */
import { randomBytes } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isSessionId } from "../../shared/base/ids.ts";
import { html } from "../http/html.ts";
import { type Origins, placeOf } from "../http/origins.ts";
import { pageHeaders } from "../http/pages.ts";
import type { ClientAssets } from "./client-assets.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly assets: ClientAssets;
  readonly offersPlugins: boolean;
  readonly origins: Pick<Origins, "isSecure">;
  readonly settings: {
    readonly serverUrl: string | undefined;
    readonly serverOwner: string;
    readonly meetingUrl: string | undefined;
    readonly loginUnverifiedEmail: "drop" | "keep";
  };
}

interface ClientPage {
  /** What to enter in an IDE. */
  readonly serverUrl: string;
  /** The path of this server, for links within the page. */
  readonly basePath: string;
  readonly nonce: string;
}

const NONCE_BYTES = 16;

export function addClientPage(deps: Deps): void {
  const { app } = deps;
  app.get<{ Querystring: { readonly room?: unknown } }>("/", (request, reply) =>
    sendPage(deps, request, reply, request.query.room),
  );
  app.get("/join", (request, reply) => sendPage(deps, request, reply, undefined));
  app.get<{ Params: { readonly room: string } }>("/join/:room", (request, reply) =>
    sendPage(deps, request, reply, request.params.room),
  );
}

function sendPage(
  deps: Deps,
  { raw }: Pick<FastifyRequest, "raw">,
  reply: FastifyReply,
  room: unknown,
): FastifyReply {
  const { settings, origins } = deps;
  const { baseUrl, basePath } = placeOf(raw, settings.serverUrl);
  const nonce = randomBytes(NONCE_BYTES).toString("base64");
  if (typeof room === "string" && isSessionId(room)) {
    const path = basePath === "" ? "/" : basePath;
    const isSecure = origins.isSecure(raw) || baseUrl.startsWith("https:");
    const secure = isSecure ? "; Secure" : "";
    // Browsers send it with what cannot name its session in another way; what can is routed by that.
    const cookie = `ctstickiness=${room}; Path=${path}; HttpOnly; SameSite=Lax${secure}`;
    reply.header("set-cookie", cookie);
  }
  reply.headers({ ...pageHeaders(settings, nonce), "content-type": "text/html; charset=utf-8" });
  return reply.send(clientPage(deps, { serverUrl: baseUrl, basePath, nonce }));
}

/** Links are absolute, because the page is served at paths of different depth. */
function clientPage(
  { assets, offersPlugins, settings }: Deps,
  { serverUrl, basePath, nonce }: ClientPage,
): string {
  const { serverOwner, meetingUrl, loginUnverifiedEmail } = settings;
  const edge = JSON.stringify({
    serverUrl,
    owner: serverOwner,
    offersPlugins,
    ...(loginUnverifiedEmail === "keep" && { asksEmail: true }),
    ...(meetingUrl !== undefined && { meetingTemplate: meetingUrl }),
  });
  const { script, style } = assets;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="Live collaborative coding, in the browser and in your IDE">
<meta name="ct-edge" content="${edge}">
<title>CodeTogether edge</title>
<link rel="icon" href="${basePath}/login.svg" type="image/svg+xml">
${style !== undefined && html`<link rel="stylesheet" href="${basePath}/app/${style}">`}
${script !== undefined && html`<script type="module" nonce="${nonce}" src="${basePath}/app/${script}"></script>`}
</head>
<body>
<div id="app">
<div class="page"><main>
<h1>CodeTogether edge</h1>
<noscript>
<p>Live collaborative coding, in the browser and in your own IDE${serverOwner !== "Unknown" && html`, hosted by ${serverOwner}`}.
In the browser it needs JavaScript.</p>
</noscript>
<p>In your IDE, install <em>Open Collaboration Tools</em>${
    offersPlugins
      ? html` (<a href="${basePath}/clients">from this server</a>)`
      : ", from the marketplace of your IDE,"
  } and set its server URL to</p>
<pre id="server-url">${serverUrl}</pre>
<p><a href="${basePath}/dashboard/">Dashboard</a> for operators</p>
</main></div>
</div>
</body>
</html>
`.text;
}
