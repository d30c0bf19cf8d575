/**
 * Asking a member to do something, and waiting until it says what came of it.
 */
import { type Clock, sleep } from "../base/clock.ts";
import { randomAlphanumerics, type WorkerId } from "../base/ids.ts";
import type { Store } from "../store/store.ts";
import { type CommandAnswer, type EdgeCommand, parseAnswer, writeCommand } from "./command.ts";

/** A member looks for commands at each hint and every few seconds (5 s); one that lives answers in time. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Hints may be missed. */
const LOOK_PERIOD_MS = 500;
const TOKEN_CHARS = 24;

/**
 * Resolves with the member's answer; `no answer` when it gave none within `timeoutMs` (10 s): then it is gone or hangs, and
 * obeys no more, because the command is taken back. Rejects with `StoreAwayError`.
 */
export async function sendCommand(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  to: WorkerId,
  command: EdgeCommand,
  timeoutMs: number = ANSWER_TIMEOUT_MS,
): Promise<CommandAnswer | "no answer"> {
  const token = randomAlphanumerics(TOKEN_CHARS);
  let look = (): void => {};
  const stop = store.onChange((change) => {
    if (change.subject === "ticket" && change.token === token) look();
  });
  try {
    await store.putTicket({
      kind: "command",
      token,
      question: writeCommand(command),
      group: to,
      ttlMs: timeoutMs,
    });
    const untilMs = clock.nowMs() + timeoutMs;
    while (clock.nowMs() < untilMs) {
      const hint = new Promise<void>((resolve) => {
        look = resolve;
      });
      const ticket = await store.readTicket("command", token);
      if (ticket?.state === "answered") return parseAnswer(ticket.answer) ?? "no answer";
      if (ticket === undefined) break;
      await Promise.race([hint, sleep(clock, LOOK_PERIOD_MS)]);
    }
    return "no answer";
  } finally {
    stop();
    // A failure leaves it to its time, which is the same.
    await store.dropTicket("command", token).catch(() => {});
  }
}
