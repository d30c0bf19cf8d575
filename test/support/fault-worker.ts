/**
 * A worker that can be broken, as a process of its own: answers every GET with its name (the first argument) on its port
 * (the second), echoes behind an upgrade, and does what its parent tells it over the IPC channel. SIGTERM ends it in order.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/**
 * `refuse`: its port is closed, and so is every connection · `swallow`: it takes everything and says nothing, as an address
 * does behind which nobody is · `slow`: each answer comes 400 ms later.
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
  const answer = (): void => {
    response.setHeader("Content-Type", "text/plain");
    response.end(name);
  };
  if (fault === "slow") setTimeout(answer, SLOW_MS);
  else answer();
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

process.on("message", (told: WorkerFault) => {
  const before = fault;
  fault = told;
  if (told === "refuse") {
    server.close();
    server.closeAllConnections();
    for (const socket of tunnels) socket.destroy();
  }
  if (before === "refuse") server.listen(Number(port), "127.0.0.1");
  // What it has swallowed is lost for good.
  if (before === "swallow") server.closeAllConnections();
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  for (const socket of tunnels) socket.end();
});
process.on("disconnect", () => process.exit(0));

server.listen(Number(port), "127.0.0.1", 1024, () => process.send?.("listening"));
