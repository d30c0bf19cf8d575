/**
 * The private status port of every process: health checks, its view of the edge, and its metrics.
 */
import type { Server, ServerResponse } from "node:http";
import { CONTENT_TYPE } from "../metrics/prometheus.ts";
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
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.setHeader("allow", "GET, HEAD");
        send(response, 405, { error: "only GET and HEAD are allowed" });
        return;
      }
      respond(request.url ?? "", response, options.source);
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
        error: "unknown path; try /health/live, /health/ready, /view, /metrics",
      });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(`${JSON.stringify(body)}\n`);
}

function listen(server: Server, at: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, () => {
      server.off("error", reject);
      server.on("error", ignore);
      resolve();
    });
  });
}

function ignore(): void {}
