/**
 * Workers as fast as Node allows, so that the proxy in front is the bottleneck: a process that listens on the ports in its
 * arguments. `GET /1m` returns 1 MiB, `GET /20m` 20 MiB, an upgrade becomes an echo, any other request gets a small response,
 * a POST after its whole body has arrived.
 */
import { createServer, type Socket } from "node:net";

const SMALL = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n${"x".repeat(64)}`,
);
const LARGE = new Map([
  ["GET /1m ", bodyOf(2 ** 20)],
  ["GET /20m ", bodyOf(20 * 2 ** 20)],
]);
/** The response to the one Sec-WebSocket-Key that the benchmark uses (RFC 6455 §1.3). */
const SWITCH = Buffer.from(
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
);

for (const port of process.argv.slice(2)) {
  createServer({ noDelay: true }, serve).listen(Number(port), "127.0.0.1", 1024);
}

function bodyOf(length: number): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, "x")]);
}

function serve(socket: Socket): void {
  let text = "";
  let isEcho = false;
  /** What has not arrived yet of a request's body, which is answered at its end. */
  let missing = 0;
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    if (isEcho) {
      socket.write(bytes);
      return;
    }
    if (missing > bytes.length) {
      missing -= bytes.length;
      return;
    }
    if (missing > 0) socket.write(SMALL);
    text += bytes.toString("latin1", missing);
    missing = 0;
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
      if (head.startsWith("POST ")) {
        const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
        missing = Math.max(0, length - text.length);
        text = text.slice(length);
        if (missing > 0) return;
      }
      const path = head.slice(0, head.indexOf(" ", 4) + 1);
      socket.write(LARGE.get(path) ?? SMALL);
    }
  });
}
