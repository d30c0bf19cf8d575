/**
 * Load on a proxy that takes as much as it can: wrk for HTTP, own connections for TLS handshakes and for WebSockets (raw bytes
 * after the handshake, because proxies do not parse frames). At a fixed rate: paced-load.ts.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { CORES } from "./process.ts";

/** Sends requests for some seconds. Resolves with the number of responses; rejects if a request failed. */
export async function wrk(options: {
  port: number;
  path: string;
  connections: number;
  seconds: number;
  fields?: readonly string[];
  /** Text of a Lua script for wrk. */
  script?: string;
  tls?: boolean;
}): Promise<number> {
  const seconds = Math.ceil(options.seconds);
  const args = ["-t", "1", "-c", String(options.connections), "-d", `${seconds}s`];
  for (const field of options.fields ?? []) args.push("-H", field);
  const scheme = options.tls === true ? "https" : "http";
  const target = `${scheme}://127.0.0.1:${options.port}${options.path}`;
  const output = await withScript(options.script, (flags) =>
    run(["wrk", ...args, ...flags, target]),
  );
  const requests = Number(/(\d+) requests in/.exec(output)?.[1]);
  // A connection that wrk still has open at its end is not a failure.
  if (/Non-2xx|Socket errors: .*(connect|read|write) [1-9]/.test(output) || !(requests > 0)) {
    throw new Error(`load on port ${options.port} failed:\n${output}`);
  }
  return requests;
}

/** Sends a thousand keys in turn. */
export const KEYS_SCRIPT = `local requests, n = {}, 0
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
`;

/** Uploads 1 MiB with each request. */
export const UPLOAD_SCRIPT = `wrk.method = "POST"
wrk.body = string.rep("x", 1048576)
`;

async function withScript<T>(
  script: string | undefined,
  load: (flags: readonly string[]) => Promise<T>,
): Promise<T> {
  if (script === undefined) return await load([]);
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-wrk-"));
  try {
    const file = join(folder, "script.lua");
    writeFileSync(file, script);
    return await load(["-s", file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
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

const CLOSED_REQUEST =
  "GET /small HTTP/1.1\r\nHost: bench.example.com\r\nConnection: close\r\n\r\n";
const HANDSHAKES_AT_A_TIME = 16;

/** Connects with a full TLS handshake, sends one request, and repeats. Resolves with the number of connections. */
export async function handshakes(port: number, seconds: number): Promise<number> {
  const endMs = performance.now() + seconds * 1000;
  let count = 0;
  const connectRepeatedly = async (): Promise<void> => {
    while (performance.now() < endMs) {
      await requestOverTls(port);
      count++;
    }
  };
  await Promise.all(Array.from({ length: HANDSHAKES_AT_A_TIME }, connectRepeatedly));
  return count;
}

function requestOverTls(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let response = "";
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }, () =>
      socket.write(CLOSED_REQUEST),
    );
    socket.on("data", (bytes: Buffer) => {
      response += bytes.toString("latin1");
    });
    socket.on("error", reject);
    socket.on("end", () => {
      if (response.startsWith("HTTP/1.1 200 ") && !socket.isSessionReused()) resolve();
      else reject(new Error(`no full handshake or no response: ${response}`));
    });
  });
}

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

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
    let response = "";
    socket.on("error", reject);
    socket.write(HANDSHAKE);
    const onData = (bytes: Buffer): void => {
      response += bytes.toString("latin1");
      if (!response.endsWith("\r\n\r\n")) return;
      socket.off("data", onData);
      if (response.startsWith("HTTP/1.1 101 ")) resolve(socket);
      else reject(new Error(response));
    };
    socket.on("data", onData);
  });
}

/** Each tunnel sends 96 bytes, waits for their echo, and repeats. Resolves with the number of echoes. */
export async function echo(tunnels: readonly Socket[], seconds: number): Promise<number> {
  const message = Buffer.alloc(96, "m");
  let echoed = 0;
  let isOver = false;
  const done = tunnels.map((socket) => {
    let missing = message.length;
    return new Promise<void>((resolve) => {
      const onData = (bytes: Buffer): void => {
        missing -= bytes.length;
        if (missing > 0) return;
        echoed++;
        missing = message.length;
        if (!isOver) socket.write(message);
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
  isOver = true;
  await Promise.all(done);
  return echoed;
}
