/**
 * The private status port of every process: health checks, its view of the edge, and its metrics.
 */
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import { CONTENT_TYPE } from "../metrics/prometheus.ts";
import { plainAddress } from "../net/networks.ts";
import { createServer } from "../net/node-http.ts";

/** The content of the port; called for each request. */
export interface StatusSource {
  /** `notReady`: why the process does not accept traffic; empty if it does. `degraded`: what does not work meanwhile. */
  readonly readiness: () => {
    readonly notReady: readonly string[];
    readonly degraded: readonly string[];
  };
  readonly view: () => unknown;
  readonly metrics: () => Promise<string>;
  /** What else the process serves, by path. */
  readonly pages?: Readonly<Record<string, StatusPage>>;
}

/** Called for requests of every method; a body is discarded. */
export type StatusPage = (request: {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** Whether it comes from a program of this machine, and not through a proxy on it. */
  readonly isLocal: boolean;
}) => StatusResponse | Promise<StatusResponse>;

export interface StatusResponse {
  readonly status: number;
  /** Sent as JSON. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StatusPort {
  readonly port: number;
  close(): Promise<void>;
}

const HEAD_TIMEOUT_MS = 5000;
const MAX_HEAD_BYTES = 8192;
const CHECK_MS = 1000;

/** Rejects with the system's error when the port cannot be opened. */
export async function openStatusPort(options: {
  readonly host: string;
  readonly port: number;
  readonly source: StatusSource;
}): Promise<StatusPort> {
  const server = createServer(
    {
      headersTimeout: HEAD_TIMEOUT_MS,
      requestTimeout: HEAD_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MAX_HEAD_BYTES,
    },
    (request, response) => {
      request.on("error", ignore);
      response.on("error", ignore);
      // A body is discarded.
      request.resume();
      const { method = "", url = "", headers } = request;
      const { source } = options;
      const page = Object.hasOwn(source.pages ?? {}, url) ? source.pages?.[url] : undefined;
      const isLocal = isFromHere(request);
      if (page !== undefined) void serve(page, { method, headers, isLocal }, response);
      else if (method !== "GET" && method !== "HEAD") sendResponse(response, ONLY_GET);
      else respond(url, response, source);
    },
  );
  server.on("clientError", (_error, socket) => socket.destroy());
  await listen(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** For pages that are only read. */
export const ONLY_GET: StatusResponse = {
  status: 405,
  body: { error: "only GET and HEAD are allowed" },
  headers: { allow: "GET, HEAD" },
};

async function serve(
  page: StatusPage,
  request: Parameters<StatusPage>[0],
  response: ServerResponse,
): Promise<void> {
  try {
    sendResponse(response, await page(request));
  } catch {
    send(response, 500, { error: "the request failed; see the log of this process" });
  }
}

function respond(url: string, response: ServerResponse, source: StatusSource): void {
  switch (url) {
    case "/health/live":
      // A response is enough: a restart would not fix anything that the process depends on.
      send(response, 200, { status: "live" });
      break;
    case "/health/ready":
    // Paths for the probes of the previous product.
    case "/ct-health/":
    case "/ct-health": {
      const { notReady, degraded } = source.readiness();
      if (notReady.length > 0) send(response, 503, { status: "not ready", reasons: notReady });
      else {
        const status = degraded.length > 0 ? "degraded" : "ready";
        send(response, 200, { status, reasons: degraded });
      }
      break;
    }
    case "/view":
      send(response, 200, source.view());
      break;
    case "/metrics":
      source.metrics().then(
        (page) => response.writeHead(200, { "content-type": CONTENT_TYPE }).end(page),
        () => send(response, 500, { error: "the metrics could not be read" }),
      );
      break;
    default:
      send(response, 404, {
        error: `unknown path; try ${["/health/live", "/health/ready", "/view", "/metrics", ...Object.keys(source.pages ?? {})].join(", ")}`,
      });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  sendResponse(response, { status, body });
}

function sendResponse(response: ServerResponse, { status, body, headers }: StatusResponse): void {
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json; charset=utf-8",
  });
  response.end(`${JSON.stringify(body)}\n`);
}

/**
 * Its own address is the same machine too, when the port is bound to it. A service mesh's proxy connects from 127.0.0.6 or adds
 * one of these headers: those who ask through it are elsewhere.
 */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  const { remoteAddress, localAddress } = socket;
  const isProxied = ["x-forwarded-for", "forwarded", "via", "x-envoy-peer-metadata"].some(
    (name) => headers[name] !== undefined,
  );
  if (isProxied || remoteAddress === undefined) return false;
  return HERE.has(plainAddress(remoteAddress)) || remoteAddress === localAddress;
}

const HERE: ReadonlySet<string> = new Set(["127.0.0.1", "::1"]);

function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    // Of this process alone, also where processes share their public ports.
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject);
      server.on("error", ignore);
      resolve();
    });
  });
}

function ignore(): void {}
