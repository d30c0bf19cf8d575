/**
 * Ports of the loopback address: free ones, and ones that somebody holds.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";

/** A program that listens on a port and never answers. */
export interface HeldPort {
  readonly port: number;
  release(): Promise<void>;
}

/** Takes a free port and holds it. */
export async function holdPort(): Promise<HeldPort> {
  const server = createServer((socket) => socket.on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: portOf(server), release: () => close(server) };
}

/** Below the ports that systems give to connections and to those who ask for any port (RFC 6335 §6, Linux: 32768). */
const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;

/**
 * A port that was free a moment ago, and that no connection of another process is given: what is started on it later, or
 * again after its end, gets it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    await close(server);
    return port;
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** What `localhost` may be on this machine: 127.0.0.1 and, unless IPv6 is off, ::1. */
export function loopbacks(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  return all.some(({ address }) => address === "::1") ? ["127.0.0.1", "::1"] : ["127.0.0.1"];
}
