/**
 * A worker process with switchable faults: responds to every GET with its name (the first argument) on its port (the second),
 * echoes after an upgrade, and switches faults on IPC messages of its parent. SIGTERM stops it gracefully.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/**
 * `refuse`: its port and all connections are closed · `swallow`: it reads everything and sends nothing, like an unreachable
 * address · `slow`: each response is delayed by 400 ms.
 */
export type WorkerFault = "none" | "refuse" | "swallow" | "slow";

const SLOW_MS = 400;
/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const [name = "", port = "0"] = process.argv.slice(2);
const tunnels = new Set<Socket>();
let fault: WorkerFault = "none";

const server = createServer({ keepAliveTimeout: 70_000 }, (_request, response) => {
  if (fault === "swallow") return;
  const respond = (): void => {
    response.setHeader("Content-Type", "text/plain");
    response.end(name);
  };
  if (fault === "slow") setTimeout(respond, SLOW_MS);
  else respond();
});

server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
  socket.on("error", () => socket.destroy());
  if (fault === "swallow") return;
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}${WEBSOCKET_GUID}`)
    .digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  tunnels.add(socket);
  socket.once("close", () => tunnels.delete(socket));
  socket.on("data", (bytes) => {
    if (fault !== "swallow") socket.write(bytes);
  });
});

process.on("message", (next: WorkerFault) => {
  const before = fault;
  fault = next;
  if (next === "refuse") {
    server.close();
    server.closeAllConnections();
    for (const socket of tunnels) socket.destroy();
  }
  if (before === "refuse") server.listen(Number(port), "127.0.0.1");
  // Swallowed requests are lost.
  if (before === "swallow") server.closeAllConnections();
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  for (const socket of tunnels) socket.end();
});
process.on("disconnect", () => process.exit(0));

server.listen(Number(port), "127.0.0.1", 1024, () => process.send?.("listening"));
