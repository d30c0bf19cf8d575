/** A loopback address with ports 80 and 443, as a TCP balancer has them that spreads connections over balancers in turn. */
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { atEnd } from "./at-end.ts";
import { listen } from "./servers.ts";

export interface PublicAddress {
  readonly address: string;
  /** Balancers' ports, those of HTTP and of TLS. Connections to one that refuses go to the next. */
  readonly http: number[];
  readonly tls: number[];
  /** While true, connections to both ports wait. */
  isHeld: boolean;
  /** Connections that came so far. */
  readonly accepted: { http: number; tls: number };
}

let last = 0;

export async function openPublicAddress(): Promise<PublicAddress> {
  last++;
  const address = `127.77.${process.pid % 250}.${last}`;
  const sockets = new Set<Socket>();
  const held: (() => void)[] = [];
  let isHeld = false;
  const accepted = { http: 0, tls: 0 };

  function forward(kind: "http" | "tls", ports: readonly number[]): Server {
    let turn = 0;
    const server = createServer({ allowHalfOpen: true }, (client) => {
      accepted[kind]++;
      keep(client);
      const connect = (left: number): void => {
        const port = ports[turn++ % Math.max(1, ports.length)];
        if (port === undefined || left === 0) {
          client.destroy();
          return;
        }
        const upstream = createConnection({ port, host: "127.0.0.1", allowHalfOpen: true });
        let isOpen = false;
        upstream.once("connect", () => {
          isOpen = true;
          client.pipe(upstream).pipe(client);
        });
        upstream.once("error", () => {
          if (!isOpen) connect(left - 1);
        });
        keep(upstream, client);
      };
      const begin = (): void => connect(ports.length);
      if (isHeld) held.push(begin);
      else begin();
    });
    return server;
  }

  function keep(socket: Socket, other?: Socket): void {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => {
      sockets.delete(socket);
      if (socket.readableLength === 0 && other !== undefined && socket.bytesWritten > 0)
        other.end();
    });
  }

  const http: number[] = [];
  const tls: number[] = [];
  await listen(forward("http", http), 80, address);
  await listen(forward("tls", tls), 443, address);
  atEnd(() => {
    for (const socket of sockets) socket.destroy();
  });
  return {
    address,
    http,
    tls,
    accepted,
    get isHeld() {
      return isHeld;
    },
    set isHeld(value) {
      isHeld = value;
      if (!value) for (const begin of held.splice(0)) begin();
    },
  };
}
