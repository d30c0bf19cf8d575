/**
 * Sends a command to a process of the edge through the store, and waits for its result.
 */
import { type Clock, sleep } from "../base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../base/ids.ts";
import type { Store } from "../store/store.ts";
import {
  type CommandAnswer,
  type EdgeCommand,
  parseAnswer,
  type Sender,
  writeCommand,
} from "./command.ts";

/** Processes poll for commands on each change notification and every 5 s, so a running one answers in time. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Change notifications may be missed. */
const POLL_PERIOD_MS = 500;
const TOKEN_CHARS = 24;

/**
 * Resolves with the result, or with `no answer` if there is none within `timeoutMs` (10 s): the process is gone or hangs, and
 * will not run the command later, because the command is deleted. Rejects with `StoreAwayError`.
 */
export async function sendCommand(
  {
    store,
    clock,
    by,
  }: {
    readonly store: Store;
    readonly clock: Clock;
    /** The operator, for the audit log; undefined for what a program does by itself. */
    readonly by?: Sender | undefined;
  },
  to: WorkerId,
  command: EdgeCommand,
  timeoutMs: number = ANSWER_TIMEOUT_MS,
): Promise<CommandAnswer | "no answer"> {
  const token = randomAlphanumerics(TOKEN_CHARS);
  let wake = (): void => {};
  const stop = store.onChange((change) => {
    if (change.subject === "ticket" && change.token === token) wake();
  });
  try {
    await store.putTicket({
      kind: "command",
      token,
      question: writeCommand(command, by),
      group: to,
      ttlMs: timeoutMs,
    });
    const untilMs = clock.nowMs() + timeoutMs;
    while (clock.nowMs() < untilMs) {
      const change = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const ticket = await store.readTicket("command", token);
      if (ticket?.state === "answered") return parseAnswer(ticket.answer) ?? "no answer";
      if (ticket === undefined) break;
      await Promise.race([change, sleep(clock, POLL_PERIOD_MS)]);
    }
    return "no answer";
  } finally {
    stop();
    // If this fails, the ticket expires after `timeoutMs`, which has the same effect.
    await store.dropTicket("command", token).catch(() => {});
  }
}
