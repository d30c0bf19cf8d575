/**
 * A peer as a child process, on free ports and with its own folder.
 */
import { spawn, spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { freePort } from "../../support/ports.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import type { Target } from "../stage.ts";

/** The certificate that it uses. */
export interface PeerFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface PeerPlace extends PeerFiles {
  readonly folder: string;
  readonly httpPort: number;
  readonly tlsPort: number;
}

export function isInstalled(command: string): boolean {
  return spawnSync(command, ["-v"], { stdio: "ignore" }).status === 0;
}

/** Resolves when both ports accept connections. Rejects with its output if it exits before. */
export async function startPeer(
  name: string,
  files: PeerFiles,
  prepare: (at: PeerPlace) => Promise<{ command: string; args: readonly string[] }>,
): Promise<Target> {
  const folder = tempFolder();
  const at = { ...files, folder, httpPort: await freePort(), tlsPort: await freePort() };
  const { command, args } = await prepare(at);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  async function close(): Promise<void> {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
  try {
    await until(`${name} accepts connections`, async () => {
      if (child.exitCode !== null) return true;
      return (await accepts(at.httpPort)) && (await accepts(at.tlsPort));
    });
    if (child.exitCode !== null) throw new Error(`${name} has ended: ${output}`);
  } catch (error) {
    await close();
    throw error;
  }
  return { name, httpPort: at.httpPort, tlsPort: at.tlsPort, close };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
