/** A worker of the test that accepts links and tells by which way each request came. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { isLinkRequest, type LinkServer } from "../../worker/links/link-server.ts";
import { LinkSocket } from "../../worker/links/link-socket.ts";
import { switching } from "../conformance/case.ts";
import { listen } from "../support/servers.ts";
import { acceptLinks } from "./accept-links.ts";

export interface LinkedWorker {
  readonly port: number;
  readonly links: LinkServer;
  /** Its record, as of a worker that listens at `port` (default: its own). */
  record(port?: number): WorkerRecord;
  /** Open upgraded streams and connections. */
  readonly tunnels: ReadonlySet<Duplex>;
  /** Responses to `GET …?hold`, which the test sends. */
  readonly held: ServerResponse[];
  /** Log entries about bugs. */
  readonly bugs: readonly string[];
}

/** An upgraded connection that gets this is destroyed. */
export const CLOSE_ME = "close me";

/**
 * Responds to `GET …?bytes=N` with N bytes, to a POST with its body; the header `way` is `link` or `plain`. An upgraded
 * connection sends back what it gets.
 */
export async function startLinkedWorker(
  options: { id?: string; clock?: Clock; hasLinks?: boolean } = {},
): Promise<LinkedWorker> {
  const held: ServerResponse[] = [];
  const tunnels = new Set<Duplex>();
  const sockets = new Set<Duplex>();
  const server = createServer({ keepAliveTimeout: 0 }, (req, res) => {
    req.on("error", () => {});
    res.setHeader("way", req.socket instanceof LinkSocket ? "link" : "plain");
    if (req.url?.endsWith("?hold")) held.push(res);
    else respond(req, res).catch(() => res.destroy());
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  });
  const accepted = acceptLinks(server, options);
  if (options.hasLinks === false) server.removeAllListeners("upgrade");
  server.on("upgrade", (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isLinkRequest(req)) {
      if (options.hasLinks === false) socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
      return;
    }
    tunnels.add(socket);
    socket.once("close", () => tunnels.delete(socket));
    socket.write(switching());
    socket.write(head);
    socket.on("data", (bytes) => {
      if (String(bytes) === CLOSE_ME) socket.destroy();
    });
    socket.pipe(socket);
  });
  const port = await listen(server);
  onTestFinished(() => accepted.links.close());
  return {
    port,
    links: accepted.links,
    record: (at = port) => accepted.record(at),
    tunnels,
    held,
    bugs: accepted.bugs,
  };
}

async function respond(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { searchParams } = new URL(req.url ?? "/", "http://worker");
  const body = await buffer(req);
  res.end(req.method === "POST" ? body : "x".repeat(Number(searchParams.get("bytes") ?? 0)));
}
