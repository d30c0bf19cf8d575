/**
 * The private port: whether this balancer lives and wants traffic, and the workers and the ring as it sees them now.
 */
import { createServer, type Server, type ServerResponse } from "node:http";

/** What the port shows; asked at each request. */
export interface StatusSource {
  /** Why it wants no traffic; empty when it does. */
  readonly notReady: () => readonly string[];
  readonly view: () => unknown;
}

export interface StatusPort {
  readonly port: number;
  close(): Promise<void>;
}

/** A request there is a line or two. */
const HEAD_TIMEOUT_MS = 5000;

/** Rejects with the system's error when the port cannot be opened. */
export async function openStatusPort(options: {
  readonly host: string;
  readonly port: number;
  readonly source: StatusSource;
}): Promise<StatusPort> {
  const server = createServer(
    { headersTimeout: HEAD_TIMEOUT_MS, requestTimeout: HEAD_TIMEOUT_MS, maxHeaderSize: 8192 },
    (request, response) => {
      request.on("error", ignore);
      response.on("error", ignore);
      // Whatever body was sent is of no interest.
      request.resume();
      if (request.method !== "GET" && request.method !== "HEAD") {
        send(response, 405, { error: "only GET is answered here" });
        return;
      }
      answer(request.url ?? "", response, options.source);
    },
  );
  server.on("clientError", (_error, socket) => socket.destroy());
  await bound(server, options);
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

function answer(url: string, response: ServerResponse, source: StatusSource): void {
  switch (url) {
    case "/health/live":
      send(response, 200, { status: "live" });
      break;
    case "/health/ready": {
      const reasons = source.notReady();
      const ready = reasons.length === 0;
      send(response, ready ? 200 : 503, { status: ready ? "ready" : "not ready", reasons });
      break;
    }
    case "/view":
      send(response, 200, source.view());
      break;
    default:
      send(response, 404, { error: "unknown path; try /health/live, /health/ready, /view" });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(`${JSON.stringify(body)}\n`);
}

function bound(server: Server, at: { host: string; port: number }): Promise<void> {
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
