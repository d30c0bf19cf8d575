/**
 * Counted sessions in a Node process of their own, so that their work does not disturb the measuring program.
 * `startNodeClients` starts it; it replies to every call.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type Call, remoteSessions, serveCalls } from "../../../test/support/counted/calls.ts";
import type { CountedSessions } from "../../../test/support/counted/sessions.ts";

interface Reply {
  readonly value?: unknown;
  readonly error?: string;
}

/** `certificateFile`: of the edge; Node reads the authorities that it trusts only at its start. `close` ends the process. */
export function startNodeClients(certificateFile: string): CountedSessions {
  const child = fork(fileURLToPath(import.meta.url), ["clients"], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { ...process.env, NODE_EXTRA_CA_CERTS: certificateFile },
  });
  const sessions = remoteSessions((call) => callChild(child, call));
  return {
    ...sessions,
    async close() {
      const ended = once(child, "exit");
      await sessions.close();
      child.disconnect();
      await ended;
    },
  };
}

/** One call at a time. */
function callChild(child: ChildProcess, call: Call): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error("the clients' process ended"));
    child.once("exit", onExit);
    child.once("message", ({ value, error }: Reply) => {
      child.off("exit", onExit);
      if (error === undefined) resolve(value);
      else reject(new Error(error));
    });
    child.send(call);
  });
}

// --- in the clients' process ---

function serve(): void {
  const run = serveCalls();
  process.on("message", (call: Call) => {
    run(call).then(
      (value) => process.send?.({ value }),
      (error: unknown) => process.send?.({ error: String(error) }),
    );
  });
  process.once("disconnect", () => process.exit());
}

if (process.argv[2] === "clients" && process.send !== undefined) serve();
