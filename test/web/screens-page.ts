/** Serves the client's screens with sample data (fake-app.ts), under the content security policy of the product's pages. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { pageHeaders } from "../../worker/http/pages.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** `fake` is in the page what createFakeApp() returns. */
const SCRIPT = `
  import { h, render } from "preact";
  import { Root } from "./worker/web/client/root.tsx";
  import { createFakeApp } from "./test/web/fake-app.ts";
  import "./worker/web/client/client.css";
  globalThis.fake = createFakeApp();
  const inviteToIde = (copyText) => ({
    copyText,
    ideLinks: [{ label: "VS Code", href: "vscode://example/join", note: "extension 0.3.9 and later" }],
  });
  render(h(Root, { app: fake.app, inviteToIde }), document.getElementById("app"));
`;

const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>CodeTogether edge</title>
<link rel="stylesheet" href="/page.css"><script type="module" src="/page.js"></script>
</head><body><div id="app"></div></body></html>`;

export async function serveScreens(): Promise<{ url: string; close: () => void }> {
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
  const headers = pageHeaders({ serverUrl: undefined });
  const server = createServer(({ url = "" }, response) => {
    const body = url === "/" ? HTML : bodies.get(url);
    const type = /\.(?:js|css)$/.exec(url)?.[0] === ".js" ? "text/javascript" : "text/css";
    const contentType = url === "/" ? "text/html" : type;
    response.writeHead(body === undefined ? 404 : 200, { ...headers, "content-type": contentType });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}
