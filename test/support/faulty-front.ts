/** A reverse proxy in front of an edge that has the faults which are planted in it, for the tests of `ct-edge verify`. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as sendRequest,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { listen } from "./servers.ts";

export interface FrontFaults {
  /** Upgrades are refused with status 400. */
  readonly noUpgrade?: true;
  /** Connections, and responses that have not begun, are cut when nothing has passed for this long. */
  readonly idleMs?: number;
  readonly setCookie?: string;
  /** Requests and responses are passed on when they are complete. */
  readonly buffers?: true;
  readonly maxBodyBytes?: number;
  /** Headers of requests that are removed. */
  readonly strips?: readonly string[];
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** `ports`: of the balancers, which get requests in turn. */
export async function startFaultyFront(
  ports: readonly number[],
  faults: FrontFaults = {},
): Promise<string> {
  const { tls } = faults;
  const server: Server = tls === undefined ? createServer() : createSecureServer(tls);
  let turn = 0;
  const nextPort = (): number => ports[turn++ % ports.length] ?? 0;
  server.on("connection", (socket: Socket) => socket.on("error", () => {}));
  server.on("request", (req, res) => void relay(req, res, nextPort(), faults));
  server.on("upgrade", (req, socket, head) => {
    socket.on("error", () => {});
    if (faults.noUpgrade) {
      socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    tunnel(req, socket, head, nextPort(), faults);
  });
  const port = await listen(server);
  return tls === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`;
}

function headersOf(req: IncomingMessage, faults: FrontFaults): IncomingMessage["headers"] {
  const headers = { ...req.headers };
  for (const name of faults.strips ?? []) delete headers[name];
  headers["x-forwarded-proto"] = faults.tls === undefined ? "http" : "https";
  return headers;
}

async function relay(
  req: IncomingMessage,
  res: ServerResponse,
  port: number,
  faults: FrontFaults,
): Promise<void> {
  const { maxBodyBytes = Number.POSITIVE_INFINITY } = faults;
  if (Number(req.headers["content-length"] ?? 0) > maxBodyBytes) {
    res.writeHead(413, { connection: "close" }).end("too large");
    return;
  }
  const body = faults.buffers ? await readAll(req) : undefined;
  const upstream = sendRequest({
    host: "127.0.0.1",
    port,
    method: req.method,
    path: req.url,
    headers: headersOf(req, faults),
    agent: false,
  });
  const timer = faults.idleMs === undefined ? undefined : setTimeout(cut, faults.idleMs);
  function cut(): void {
    upstream.destroy();
    if (!res.headersSent) res.writeHead(504).end("timed out");
  }
  upstream.on("error", () => {
    clearTimeout(timer);
    if (res.headersSent) res.destroy();
    else res.writeHead(502).end();
  });
  res.once("close", () => {
    clearTimeout(timer);
    upstream.destroy();
  });
  upstream.once("response", (response) => {
    clearTimeout(timer);
    response.on("error", () => res.destroy());
    const headers = { ...response.headers };
    if (faults.setCookie !== undefined) {
      headers["set-cookie"] = [...(headers["set-cookie"] ?? []), faults.setCookie];
    }
    const status = response.statusCode ?? 502;
    if (faults.buffers) {
      void readAll(response).then(
        (whole) => res.writeHead(status, headers).end(whole),
        () => res.destroy(),
      );
      return;
    }
    res.writeHead(status, headers);
    res.flushHeaders();
    response.pipe(res);
  });
  if (body === undefined) req.pipe(upstream);
  else upstream.end(body);
}

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function tunnel(
  req: IncomingMessage,
  client: Duplex,
  head: Buffer,
  port: number,
  faults: FrontFaults,
): void {
  const upstream = connect(port, "127.0.0.1");
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  upstream.on("error", end);
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.once("close", end);
    from.pipe(to);
  }
  const { idleMs } = faults;
  if (idleMs !== undefined) {
    let timer = setTimeout(end, idleMs);
    for (const side of [client, upstream]) {
      side.on("data", () => {
        clearTimeout(timer);
        timer = setTimeout(end, idleMs);
      });
      side.once("close", () => clearTimeout(timer));
    }
  }
  const lines = Object.entries(headersOf(req, faults)).map(
    ([name, value]) => `${name}: ${String(value)}`,
  );
  upstream.write(`${req.method} ${req.url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  upstream.write(head);
}
