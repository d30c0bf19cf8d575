/** Servers of tests on the loopback address, closed at the end together with their connections. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";
import { atEnd } from "./at-end.ts";

/** Resolves with the port; rejects if the server cannot listen there. */
export async function listen(server: Server, port = 0, host = "127.0.0.1"): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(port, host);
  await once(server, "listening");
  atEnd(() => {
    for (const socket of sockets) socket.destroy();
    return closed(server);
  });
  return (server.address() as AddressInfo).port;
}

/** Resolves with `http://127.0.0.1:PORT`. */
export async function serveHttp(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(createServer(listener))}`;
}

/** Accepts no more connections; resolves when the last one has ended. */
export function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
