/**
 * A member looks for what operators ask it to do, does it once, and answers.
 */
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import type { Log } from "../logs/log.ts";
import { type Store, StoreAwayError, type Ticket } from "../store/store.ts";
import { type CommandAnswer, type EdgeCommand, parseCommand } from "./command.ts";

/** Hints may be missed. Rarely: an idle process shall ask the store little. */
const LOOK_PERIOD_MS = 5000;
/** Tokens of commands that were begun: a command may be listed again before its answer is there. */
const MAX_REMEMBERED = 1000;

export interface CommandListener {
  close(): void;
}

export function listenForCommands(needs: {
  readonly store: Pick<Store, "onChange" | "ticketsOf" | "answerTicket">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  /** Does it. Its answer is for people; what takes long is only begun. */
  readonly handleCommand: (command: EdgeCommand) => Promise<CommandAnswer> | CommandAnswer;
}): CommandListener {
  const { store, log, self } = needs;
  const begun = new Set<string>();
  let looking: Promise<void> | undefined;
  let lookAgain = false;

  async function runCommand(ticket: Ticket): Promise<void> {
    if (begun.has(ticket.token)) return;
    if (begun.size >= MAX_REMEMBERED) begun.clear();
    begun.add(ticket.token);
    const command = parseCommand(ticket.question);
    const answer = await answerTo(command);
    const { outcome, message } = answer;
    log.info({ command: command?.kind, outcome, message }, "an operator's command");
    await store.answerTicket("command", ticket.token, answer);
  }

  async function answerTo(command: EdgeCommand | undefined): Promise<CommandAnswer> {
    if (command === undefined) {
      return { outcome: "refused", message: "this version does not know the command" };
    }
    try {
      return await needs.handleCommand(command);
    } catch (error) {
      log.error({ err: error, command: command.kind }, "a command failed");
      return { outcome: "refused", message: "it failed; see the log of this process" };
    }
  }

  async function look(): Promise<void> {
    try {
      do {
        lookAgain = false;
        const waiting = await store.ticketsOf("command", self);
        for (const ticket of waiting) await runCommand(ticket);
      } while (lookAgain);
    } catch (error) {
      // It is looked for again; an answer that was lost leaves the operator without one.
      if (!(error instanceof StoreAwayError)) log.error({ err: error }, "commands were not read");
    }
  }

  function lookOnce(): void {
    lookAgain = looking !== undefined;
    looking ??= look().finally(() => {
      looking = undefined;
    });
  }

  const stop = store.onChange((change) => {
    if (change.subject === "ticket" && change.kind === "command") lookOnce();
  });
  const timer = needs.clock.every(LOOK_PERIOD_MS, lookOnce);

  return {
    close() {
      stop();
      timer.cancel();
    },
  };
}
