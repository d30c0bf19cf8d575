/**
 * A TCP forwarder, like a load balancer in front of an edge, whose target can be changed and which can be cut.
 */
import { connect, createServer, type Socket } from "node:net";
import { closed, listen } from "./servers.ts";

export interface Front {
  readonly port: number;
  readonly url: string;
  /** Changes the target of new connections; existing connections stay. */
  leadTo(port: number): void;
  /** Closes all connections and refuses new ones, until `join`. */
  cut(): void;
  join(): void;
  close(): Promise<void>;
}

export async function startFront(target: number): Promise<Front> {
  let port = target;
  let isCut = false;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  const own = await listen(server);
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: own,
    url: `http://127.0.0.1:${own}`,
    leadTo(next) {
      port = next;
    },
    cut() {
      isCut = true;
      endAll();
    },
    join() {
      isCut = false;
    },
    close() {
      endAll();
      return closed(server);
    },
  };
}
