/**
 * Ports of the loopback address: free ones, and ones that somebody holds.
 */
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

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const held = await holdPort();
  await held.release();
  return held.port;
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
