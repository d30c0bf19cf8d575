/**
 * Ports of the loopback address: free ones, and occupied ones.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { closed, listen } from "./servers.ts";

/** An occupied port, which accepts connections and never responds, until it is released or the end. */
export interface HeldPort {
  readonly port: number;
  release(): Promise<void>;
}

/** `at`: a port that is free; default: any. */
export async function holdPort(at = 0): Promise<HeldPort> {
  const server = createServer((socket) => socket.on("error", () => {}));
  return { port: await listen(server, at), release: () => closed(server) };
}

/** Below the ephemeral ports of the system (RFC 6335 §6, Linux: 32768). */
const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;
/** Test files that run at the same time take their ports from different ranges: a port is free until its program starts. */
const RANGES = 8;
const RANGE_PORTS = Math.floor((LAST_PORT - FIRST_PORT) / RANGES);
const range = Number(process.env["VITEST_POOL_ID"] ?? randomInt(RANGES)) % RANGES;
/** Apart from each other, because some programs take the ports after theirs too. Prime to the number of ports. */
const STEP = 101;
let next = randomInt(RANGE_PORTS);

/**
 * A port that was free a moment ago and that the system does not assign as an ephemeral port, so a program can be started on
 * it later, and again after its end. Never one that was returned shortly before.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    next = (next + STEP) % RANGE_PORTS;
    const port = FIRST_PORT + range * RANGE_PORTS + next;
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    await closed(server);
    return port;
  }
}

/** Addresses of `localhost` on this machine: 127.0.0.1 and, unless IPv6 is off, ::1. */
export function loopbacks(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  return all.some(({ address }) => address === "::1") ? ["127.0.0.1", "::1"] : ["127.0.0.1"];
}
