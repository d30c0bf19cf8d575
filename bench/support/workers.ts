/**
 * Workers as fast as Node allows, so that the proxy in front is the bottleneck: a process that listens on the ports in its
 * arguments. `GET /1m` returns 1 MiB, an upgrade becomes an echo, any other request gets a small response.
 */
import { createServer, type Socket } from "node:net";

const SMALL = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n${"x".repeat(64)}`,
);
const BODY = Buffer.alloc(1024 * 1024, "x");
const LARGE = Buffer.concat([
  Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n`,
  ),
  BODY,
]);
/** The response to the one Sec-WebSocket-Key that the benchmark uses (RFC 6455 §1.3). */
const SWITCH = Buffer.from(
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
);

for (const port of process.argv.slice(2)) {
  createServer({ noDelay: true }, serve).listen(Number(port), "127.0.0.1", 1024);
}

function serve(socket: Socket): void {
  let text = "";
  let isEcho = false;
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    if (isEcho) {
      socket.write(bytes);
      return;
    }
    text += bytes.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      if (head.startsWith("GET /ws ")) {
        isEcho = true;
        socket.write(SWITCH);
        return;
      }
      socket.write(head.startsWith("GET /1m ") ? LARGE : SMALL);
    }
  });
}
