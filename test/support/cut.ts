/**
 * A TCP relay that a test can cut: like a pulled cable it stops forwarding bytes without closing a connection, and forwards
 * them after it was mended.
 */
import { connect, createServer, type Socket } from "node:net";
import { closed, listen } from "./servers.ts";

export interface Line {
  readonly port: number;
  /** Stops forwarding in both directions; new connections are accepted by the system but receive nothing. */
  cut(): void;
  /** Resumes forwarding, starting with the bytes that waited. */
  mend(): void;
  close(): Promise<void>;
}

/** A relay to the first of `ports` on this machine that accepts a connection; `ports` is called for each connection. */
export async function openLine(ports: () => readonly number[]): Promise<Line> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let isCut = false;
  const waiting: Socket[] = [];

  function relay(client: Socket): void {
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

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, relay);
  const port = await listen(server);
  return {
    port,
    cut() {
      isCut = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    mend() {
      isCut = false;
      for (const pair of pairs) for (const socket of pair) socket.resume();
      for (const client of waiting.splice(0)) {
        client.resume();
        relay(client);
      }
    },
    async close() {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      for (const client of waiting) client.destroy();
      await closed(server);
    },
  };
}

/** Connects to the first port that accepts a connection. */
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
