/**
 * Reads operators' commands for this process from the store, runs each once, and stores the result.
 */
import { BoundedSet } from "../base/bounded.ts";
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import { coalesced } from "../base/one-flight.ts";
import { startPeriodicTask } from "../base/periodic-task.ts";
import type { Log } from "../logs/log.ts";
import type { Deferring, Store, Ticket } from "../store/store.ts";
import { reportUnlessAway } from "../store/unless-away.ts";
import {
  type CommandAnswer,
  type EdgeCommand,
  parseCommand,
  type Sender,
  senderOf,
} from "./command.ts";

/** Change notifications may be missed. The period is long, so that an idle process rarely queries the store. */
const POLL_PERIOD_MS = 5000;
/** Tokens of started commands: the store may list a command again before its result is stored. */
const MAX_REMEMBERED = 1000;

export interface CommandListener {
  close(): void;
}

export function listenForCommands(deps: {
  readonly store: Pick<Store, "onChange" | "ticketsOf" | "answerTicket"> & Deferring<"ticketsOf">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  /** Runs the command of the operator `by`. The message of the result is for people. A long operation is only started. */
  readonly handleCommand: (
    command: EdgeCommand,
    by: Sender | undefined,
  ) => Promise<CommandAnswer> | CommandAnswer;
}): CommandListener {
  const { store, log, self } = deps;
  const started = new BoundedSet<string>(MAX_REMEMBERED);
  let isClosed = false;

  async function runCommand(ticket: Ticket): Promise<void> {
    if (!started.addNew(ticket.token)) return;
    const command = parseCommand(ticket.question);
    const by = senderOf(ticket.question);
    const result = await resultOf(command, by);
    const { outcome, message } = result;
    log.info(
      { command: command?.kind, by: by?.name, outcome, message },
      "operator command handled",
    );
    await store.answerTicket("command", ticket.token, result);
  }

  async function resultOf(
    command: EdgeCommand | undefined,
    by: Sender | undefined,
  ): Promise<CommandAnswer> {
    if (command === undefined) {
      return {
        outcome: "refused",
        message: "this version does not support the command; upgrade it",
      };
    }
    try {
      return await deps.handleCommand(command, by);
    } catch (error) {
      log.error({ err: error, command: command.kind }, "operator command failed");
      return { outcome: "refused", message: "the command failed; see the log of this process" };
    }
  }

  const onError = reportUnlessAway(log, "operator commands could not be read");

  /** The next poll repeats a query that fails. A result that was lost leaves the operator without one. */
  const read = coalesced(async () => {
    try {
      const waiting = await store.ticketsOf("command", self);
      for (const ticket of waiting) await runCommand(ticket);
    } catch (error) {
      onError(error);
    }
  });

  function requestRead(): void {
    void read();
  }

  /** A hint does not wait for it. */
  async function poll(): Promise<void> {
    const waiting = await store.deferred.ticketsOf("command", self);
    if (!isClosed && waiting.some(({ token }) => !started.has(token))) requestRead();
  }

  const stop = store.onChange((change) => {
    if (change.subject === "ticket" && change.kind === "command") requestRead();
  });
  const polls = startPeriodicTask({
    clock: deps.clock,
    periodMs: POLL_PERIOD_MS,
    work: poll,
    onError,
  });

  return {
    close() {
      isClosed = true;
      stop();
      polls.close();
    },
  };
}
