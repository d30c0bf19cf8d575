/** Serves the client's screens with sample data (fake-app.ts), under the content security policy of the product's pages. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { pageHeaders } from "../../worker/http/pages.ts";
import { listen } from "../support/servers.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** `fake` is in the page what createFakeApp() returns. */
const SCRIPT = `
  import { h, render } from "preact";
  import { Root } from "./worker/web/client/root.tsx";
  import { createFakeApp } from "./test/web/fake-app.ts";
  import "./worker/web/client/client.css";
  globalThis.fake = createFakeApp();
  render(h(Root, { app: fake.app }), document.getElementById("app"));
`;

const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>CodeTogether edge</title>
<link rel="icon" href="/login.svg"><link rel="stylesheet" href="/page.css"><script type="module" nonce="c3R5bGVz" src="/page.js"></script>
</head><body><div id="app"></div></body></html>`;

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
};

export async function serveScreens(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    stdin: { contents: SCRIPT, resolveDir: ROOT, loader: "ts" },
    outfile: "/page.js",
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
  });
  const bodies = new Map(outputFiles.map((file) => [file.path, file.text]));
  bodies.set("/login.svg", readFileSync(`${ROOT}worker/web/login.svg`, "utf8"));
  bodies.set("/", HTML);
  const headers = pageHeaders({ serverUrl: undefined }, "c3R5bGVz");
  const server = createServer(({ url = "" }, response) => {
    const body = bodies.get(url);
    const type = TYPES[extname(url)] ?? "text/html";
    response.writeHead(body === undefined ? 404 : 200, { ...headers, "content-type": type });
    response.end(body);
  });
  return `http://127.0.0.1:${await listen(server)}/`;
}
