/**
 * A proxy made with the npm package http-proxy, as its users write one: keep-alive to the workers, an access log, timeouts,
 * health checks, routing by key. A peer in http.ts. Its argument is a `ProxySetup` of proxy-configs.ts as JSON.
 */
import { createHash, randomUUID } from "node:crypto";
import { createWriteStream, readFileSync } from "node:fs";
import { Agent, createServer, get } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { join } from "node:path";
import httpProxy from "http-proxy";

const { port, workers, folder, tls } = JSON.parse(process.argv[2] ?? "{}");
const LIMITS = { headersTimeout: 10_000, keepAliveTimeout: 65_000, maxHeaderSize: 32_768 };
const CHECK_EVERY_MS = 1000;

const accessLog = createWriteStream(join(folder, "access.log"));
const agent = new Agent({ keepAlive: true, maxFreeSockets: 256 });
const proxy = httpProxy.createProxyServer({ agent, xfwd: true, proxyTimeout: 60_000 });
proxy.on("error", (_error, _request, response) => response.destroy());
const healthy = new Set(workers);
let turn = 0;

setInterval(() => {
  for (const worker of workers) check(worker);
}, CHECK_EVERY_MS);

function check(worker) {
  get({ port: worker, path: "/api/meta", timeout: CHECK_EVERY_MS }, (response) => {
    response.resume();
    healthy.add(worker);
  }).on("error", () => healthy.delete(worker));
}

/** The same worker for the same key; in turn without a key. */
function pick(key) {
  const candidates = [...healthy];
  const hash = (text) => createHash("md5").update(text).digest().readUInt32BE(0);
  const index = key === undefined ? turn++ : hash(key);
  return `http://127.0.0.1:${candidates[index % candidates.length]}`;
}

function prepare(request) {
  request.headers["x-real-ip"] = request.socket.remoteAddress;
  request.headers["x-request-id"] = randomUUID();
  return { target: pick(request.headers["ctstickiness"]) };
}

function onRequest(request, response) {
  response.on("finish", () => {
    const address = request.socket.remoteAddress;
    const line = `${request.method} ${request.url} HTTP/${request.httpVersion}`;
    const agentName = request.headers["user-agent"] ?? "-";
    accessLog.write(
      `${address} - - [${new Date().toISOString()}] "${line}" ${response.statusCode} "${agentName}"\n`,
    );
  });
  proxy.web(request, response, prepare(request));
}

function onUpgrade(request, socket, head) {
  socket.on("error", () => {});
  // The pool of idle connections is not for tunnels.
  proxy.ws(request, socket, head, { ...prepare(request), agent: false });
}

createServer(LIMITS, onRequest).on("upgrade", onUpgrade).listen(port, "127.0.0.1", 1024);
if (tls !== undefined) {
  const { cert, key } = tls.certificate;
  const files = { cert: readFileSync(cert), key: readFileSync(key) };
  createTlsServer({ ...LIMITS, ...files }, onRequest).listen(tls.port, "127.0.0.1", 1024);
}
