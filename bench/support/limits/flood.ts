/**
 * One address floods, as a TCP balancer in front names it: half of its clients ask on kept connections, as soon as a response has come,
 * the others open a connection for each request. `tsx flood.ts <port>`, until it is killed.
 */
import { connect, type Socket } from "node:net";
import { headerV1, headerV2 } from "./proxy-headers.ts";

const ADDRESS = "192.0.2.1";
const KEPT = 50;
const NEW = 50;
/** Of a client that is refused; far less than an honest one waits. */
const AGAIN_MS = 1;
const port = Number(process.argv[2]);

for (let count = 0; count < KEPT; count++) askOnOne(count);
for (let count = 0; count < NEW; count++) askOnMany(count);

function open(count: number, request: string, onClose: () => void): Socket {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {}).on("close", () => setTimeout(onClose, AGAIN_MS));
  const header = count % 2 === 0 ? headerV1(ADDRESS) : headerV2(ADDRESS);
  socket.write(Buffer.concat([header, Buffer.from(request)]));
  return socket;
}

function askOnOne(count: number): void {
  const request = "GET / HTTP/1.1\r\nHost: e\r\n\r\n";
  const socket = open(count, request, () => askOnOne(count));
  socket.on("data", () => socket.write(request));
}

function askOnMany(count: number): void {
  const request = "GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n";
  open(count, request, () => askOnMany(count)).resume();
}
