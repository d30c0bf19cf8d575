/**
 * Load on a proxy: wrk for HTTP, connections of our own for WebSockets (bytes behind the handshake: proxies do not look
 * at frames).
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { CORES } from "./process.ts";

/** Sends requests for some seconds. Resolves with how many were answered; rejects when one failed. */
export async function wrk(needs: {
  port: number;
  path: string;
  connections: number;
  seconds: number;
  /** Sent with each request. */
  fields?: readonly string[];
  /** Sends each request with one of a thousand keys in turn. */
  keysIn?: string;
}): Promise<number> {
  const args = ["-t", "1", "-c", String(needs.connections), "-d", `${needs.seconds}s`];
  for (const field of needs.fields ?? []) args.push("-H", field);
  if (needs.keysIn !== undefined) args.push("-s", writeKeyScript(needs.keysIn));
  args.push(`http://127.0.0.1:${needs.port}${needs.path}`);
  const output = await run(["wrk", ...args]);
  const requests = Number(/(\d+) requests in/.exec(output)?.[1]);
  // A connection that wrk itself has open at its end is no failure.
  if (/Non-2xx|Socket errors: .*(connect|read|write) [1-9]/.test(output) || !(requests > 0)) {
    throw new Error(`load on port ${needs.port} failed:\n${output}`);
  }
  return requests;
}

function writeKeyScript(folder: string): string {
  const file = join(folder, "keys.lua");
  writeFileSync(
    file,
    `local requests, n = {}, 0
init = function()
  for i = 1, 1000 do
    wrk.headers["ctstickiness"] = "key" .. i
    requests[i] = wrk.format("GET", "/small")
  end
end
request = function()
  n = n % 1000 + 1
  return requests[n]
end
`,
  );
  return file;
}

function run(command: readonly string[]): Promise<string> {
  const pinned = CORES === null ? command : ["taskset", "-c", CORES.others, ...command];
  const [file = "", ...args] = pinned;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes: Buffer) => {
        output += bytes.toString();
      });
    }
    child.once("error", reject);
    child.once("close", () => resolve(output));
  });
}

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** Opens tunnels, some at a time. */
export async function openTunnels(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Math.min(50, count - sockets.length);
    sockets.push(...(await Promise.all(Array.from({ length: batch }, () => openTunnel(port)))));
  }
  return sockets;
}

function openTunnel(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let answer = "";
    socket.on("error", reject);
    socket.write(HANDSHAKE);
    const onData = (bytes: Buffer): void => {
      answer += bytes.toString("latin1");
      if (!answer.endsWith("\r\n\r\n")) return;
      socket.off("data", onData);
      if (answer.startsWith("HTTP/1.1 101 ")) resolve(socket);
      else reject(new Error(answer));
    };
    socket.on("data", onData);
  });
}

/** Each tunnel sends 96 bytes, waits for them to come back, and sends again. Resolves with how many came back. */
export async function echo(tunnels: readonly Socket[], seconds: number): Promise<number> {
  const message = Buffer.alloc(96, "m");
  let echoed = 0;
  let over = false;
  const done = tunnels.map((socket) => {
    let missing = message.length;
    return new Promise<void>((resolve) => {
      const onData = (bytes: Buffer): void => {
        missing -= bytes.length;
        if (missing > 0) return;
        echoed++;
        missing = message.length;
        if (!over) socket.write(message);
        else {
          socket.off("data", onData);
          resolve();
        }
      };
      socket.on("data", onData);
      socket.write(message);
    });
  });
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  over = true;
  await Promise.all(done);
  return echoed;
}
