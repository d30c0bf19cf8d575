/**
 * Tells systemd when this program is ready and when it stops, for units with `Type=notify`. Node has no datagram sockets of
 * Unix, so `systemd-notify` sends the messages; as they come from a child, the unit needs `NotifyAccess=all`.
 */
import { spawn } from "node:child_process";

/** Processes that an edge started are its business; it has a channel to them. Read once: the channel may close. */
const IS_SUPERVISED = process.channel !== undefined;
/** Added to the time that a stop may take, for the exit itself and for the handover that a drain may end with. */
const STOP_MARGIN_MS = 15_000;

/** Does nothing without systemd. `status` is shown by `systemctl status`. */
export function notifyReady(status: string): void {
  notify("READY=1", `STATUS=${status}`);
}

/**
 * Does nothing without systemd. `withinMs`: how long the stop may take, by the settings of this program; systemd waits for that
 * long, even if `TimeoutStopSec` of the unit is shorter.
 */
export function notifyStopping(withinMs: number): void {
  const extendUs = Math.ceil(withinMs + STOP_MARGIN_MS) * 1000;
  notify("STOPPING=1", "STATUS=stopping", `EXTEND_TIMEOUT_USEC=${extendUs}`);
}

function notify(...fields: string[]): void {
  if (IS_SUPERVISED || !process.env["NOTIFY_SOCKET"]) return;
  // It waits until systemd has read the messages, because systemd could not assign those of a process that has ended.
  const sender = spawn("systemd-notify", fields, { stdio: ["ignore", "ignore", "inherit"] });
  sender.once("error", (error) => {
    process.stderr.write(
      `systemd is not notified: ${error.message}; install systemd-notify, or use Type=exec in the unit\n`,
    );
  });
  sender.unref();
}
