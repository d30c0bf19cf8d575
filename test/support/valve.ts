/** A TCP relay in front of one client, by which a test makes the client slow, stops it within a message, or lets it die. */
import { connect, createServer, type Socket } from "node:net";
import { listen } from "./servers.ts";

export interface Valve {
  readonly url: string;
  /** Forwards only so many more bytes that the client sends over its present connections. */
  stopSendingAfter(bytes: number): void;
  /** The client reads nothing more over its present connections. */
  stopReading(): void;
  readAgain(): void;
  /** Resets the client's connections, as when its machine dies, and refuses new ones. */
  die(): void;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Bytes of the client that may still pass. */
  budget: number;
}

/** A relay to the port that `port` returns for each connection. */
export async function openValve(port: () => number): Promise<Valve> {
  const pairs = new Set<Pair>();
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ port: port(), host: "127.0.0.1", noDelay: true });
    const pair: Pair = { client, server, budget: Number.POSITIVE_INFINITY };
    pairs.add(pair);
    client.on("data", (bytes) => {
      server.write(bytes.subarray(0, Math.min(bytes.length, pair.budget)));
      pair.budget = Math.max(0, pair.budget - bytes.length);
    });
    server.on("data", (bytes) => {
      if (!client.write(bytes)) server.pause();
    });
    client.on("drain", () => server.resume());
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on("error", () => {});
      from.on("close", () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  return {
    url: `http://127.0.0.1:${await listen(listener)}`,
    stopSendingAfter(bytes) {
      for (const pair of pairs) pair.budget = bytes;
    },
    stopReading() {
      for (const { server } of pairs) server.pause();
    },
    readAgain() {
      for (const { server } of pairs) server.resume();
    },
    die() {
      listener.close();
      for (const { server } of pairs) server.resetAndDestroy();
    },
  };
}
