/**
 * A TCP relay in front of one port that can behave like a fault of the network or of the server behind it.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * `refuse`: no process listens · `swallow`: everything is accepted and nothing is answered, like an unreachable address ·
 * `slow`: responses are 400 ms late · `garbage`: responses are not HTTP · `no links`: requests for a link are cut off.
 */
export type RelayFault = "none" | "refuse" | "swallow" | "slow" | "garbage" | "no links";

export interface Relay {
  readonly port: number;
  /** Open connections begin again under the new behaviour. */
  set(fault: RelayFault): Promise<void>;
  close(): Promise<void>;
}

const SLOW_MS = 400;

export async function openRelay(port: number, target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let fault: RelayFault = "none";
  let server = await listen(port);

  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  }

  function serve(client: Socket): void {
    keep(client);
    if (fault === "swallow") {
      client.resume();
      return;
    }
    if (fault === "garbage") {
      client.once("data", () => client.end("\u0000\u0001 this is no HTTP \u0002\r\n\r\n"));
      return;
    }
    const upstream = connect({ port: target, host: "127.0.0.1" });
    keep(upstream);
    client.on("data", (bytes: Buffer) => {
      if (fault === "no links" && bytes.includes("Upgrade: ct-link")) client.destroy();
      else upstream.write(bytes);
    });
    upstream.on("data", (bytes: Buffer) => {
      if (fault === "slow") setTimeout(() => client.write(bytes), SLOW_MS);
      else client.write(bytes);
    });
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  }

  async function listen(at: number): Promise<Server> {
    const opened = createServer({ noDelay: true }, serve).listen(at, "127.0.0.1");
    await once(opened, "listening");
    return opened;
  }

  async function endAll(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  return {
    port,
    async set(next) {
      if (fault !== "refuse") await endAll();
      fault = next;
      if (fault !== "refuse") server = await listen(port);
    },
    async close() {
      if (fault !== "refuse") await endAll();
    },
  };
}
