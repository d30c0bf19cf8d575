/**
 * A line between two processes that a test can cut: a TCP relay that stops carrying bytes, as a pulled cable does, without
 * an end of any connection, and that carries them on when it is mended.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Line {
  readonly port: number;
  /** Nothing gets through in either direction; new connections are accepted by the system and hear nothing. */
  cut(): void;
  /** What was held back is delivered. */
  mend(): void;
  close(): Promise<void>;
}

/** A line to the first of `ports` of this machine that accepts a connection; asked for each connection. */
export async function openLine(ports: () => readonly number[]): Promise<Line> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let isCut = false;
  const waiting: Socket[] = [];

  function carry(client: Socket): void {
    client.on("error", () => client.destroy());
    if (isCut) {
      client.pause();
      waiting.push(client);
      return;
    }
    void dial(ports()).then((upstream) => {
      if (upstream === undefined) {
        client.resetAndDestroy();
        return;
      }
      const pair = [client, upstream] as const;
      pairs.add(pair);
      join(client, upstream, pair);
      join(upstream, client, pair);
      if (isCut) for (const socket of pair) socket.pause();
    });
  }

  function join(from: Socket, to: Socket, pair: readonly [Socket, Socket]): void {
    from.on("error", () => {});
    from.on("data", (bytes) => to.write(bytes));
    from.on("end", () => to.end());
    from.on("close", () => {
      pairs.delete(pair);
      to.destroy();
    });
  }

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, carry);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      isCut = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    mend() {
      isCut = false;
      for (const pair of pairs) for (const socket of pair) socket.resume();
      for (const client of waiting.splice(0)) {
        client.resume();
        carry(client);
      }
    },
    async close() {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      for (const client of waiting) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A connection to the first port that accepts one. */
async function dial(ports: readonly number[]): Promise<Socket | undefined> {
  for (const port of ports) {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const opened = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (opened) return socket;
    socket.destroy();
  }
  return undefined;
}
