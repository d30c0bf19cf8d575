/** A server that takes headers of the PROXY protocol and responds to everything: where the control's flood goes. `tsx sink.ts <port>` */
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { headerLength } from "./proxy-headers.ts";

const http = createHttpServer((_request, response) => response.end("ok"));
createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (bytes: Buffer) => {
    socket.pause();
    socket.unshift(bytes.subarray(headerLength(bytes)));
    http.emit("connection", socket);
    socket.resume();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
