/**
 * A crowd of light clients who talk, in a process of its own, so that its work does not disturb the measuring program. It ends
 * when it is killed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { openLightTeams } from "../../../test/support/light-teams.ts";

interface Talk {
  readonly url: string;
  readonly sessions: number;
  /** Each client sends a message once in this time. */
  readonly periodMs: number;
}

/** Resolves when all sessions are open. */
export async function startLightCrowd(talk: Talk): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.url), ["crowd", JSON.stringify(talk)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const exited = once(child, "exit").then(() => {
    throw new Error("the crowd's process ended");
  });
  exited.catch(() => {});
  await Promise.race([once(child, "message"), exited]);
  return child;
}

async function talk({ url, sessions, periodMs }: Talk): Promise<void> {
  const teams = await openLightTeams(url, sessions);
  teams.startTalking(periodMs);
  process.send?.("open");
}

const [, , role, options] = process.argv;
if (role === "crowd" && options !== undefined && process.send !== undefined) {
  await talk(JSON.parse(options) as Talk);
}
