/**
 * A port that leads to another one, as the load balancer or the network in front of an edge does: it can be led elsewhere,
 * and be cut.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Front {
  readonly port: number;
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Where new connections go from now on; those that are there stay where they are. */
  leadTo(port: number): void;
  /** Ends what is connected and refuses what comes, until `join`. */
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
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = (server.address() as AddressInfo).port;
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
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        endAll();
      }),
  };
}
