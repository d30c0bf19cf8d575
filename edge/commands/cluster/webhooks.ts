/** `ct-edge webhooks`: which receivers have their events; `ct-edge webhooks test`: sends one to try a receiver out. */
import { Command } from "commander";
import { formatAge } from "../../../shared/base/age.ts";
import { keepingAlive } from "../../../shared/base/keep-alive.ts";
import { readViews } from "../../../shared/cluster/read.ts";
import type { ReportedReceiver } from "../../../shared/cluster/status-reports.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { Store } from "../../../shared/store/store.ts";
import type { Tried } from "../../../worker/webhooks/try-receiver.ts";
import { CommandError, mistakesIn } from "../../output/errors.ts";
import { table } from "../../output/table.ts";
import {
  commandOptions,
  commandSettings,
  createCommand,
  createStoreCommand,
  jsonOption,
  type Output,
} from "../command.ts";

export function webhooksCommand(): Command {
  return new Command("webhooks")
    .description("Shows which receivers of webhooks (CT_WEBHOOKS) have their events.")
    .addCommand(stateCommand(), { isDefault: true })
    .addCommand(testCommand());
}

// --- their state ---

/** What `--json` prints. Fields are added, never changed. */
interface WebhooksAnswer {
  /** The worker that delivers; null: none has reported that it does. */
  readonly worker: string | null;
  /** Events of all workers that are not in the store yet. */
  readonly pending: number;
  readonly problems: readonly string[];
  readonly receivers: readonly ReportedReceiver[];
}

function stateCommand(): Command {
  return createStoreCommand({
    name: "state",
    description: "Shows which receivers have their events, and why others do not. The default.",
    run: ({ store }) => showReceivers(store),
  });
}

async function showReceivers(store: Store): Promise<Output> {
  const { members } = await store.members();
  const views = await readViews(store, members);
  const workers = views.flatMap(({ id, view }) =>
    view.role === "worker" && view.webhooks !== undefined ? [{ id, ...view.webhooks }] : [],
  );
  if (workers.length === 0) {
    throw new CommandError(
      "no worker reports webhooks; set CT_WEBHOOKS for all workers, or wait some seconds after a start",
    );
  }
  const leader = workers.find(({ receivers }) => receivers !== undefined);
  const answer: WebhooksAnswer = {
    worker: leader?.id ?? null,
    pending: workers.reduce((sum, { pending }) => sum + pending, 0),
    problems: workers.flatMap(({ id, problem }) =>
      problem === undefined ? [] : [`${id}: the file has mistakes: ${problem}`],
    ),
    receivers: leader?.receivers ?? [],
  };
  return { json: answer, out: describe(answer) };
}

const HEADING = "RECEIVER | STATE | >BACKLOG | >OLDEST | >LAST SUCCESS | >LAST FAILURE | REASON";

function describe({ worker, pending, problems, receivers }: WebhooksAnswer): string {
  const notes = problems.map((problem) => `! ${problem}`);
  if (pending > 0) notes.push(`${pending} events are not in the store yet`);
  if (worker === null) notes.push("! no worker delivers at the moment");
  else notes.push(`delivered by ${worker}`);
  const rows = receivers.map(
    ({ name, state, backlog, oldestMs, lastSuccessAgoMs, lastFailure }) => [
      ...[name, state, backlog, backlog === 0 ? "" : formatAge(oldestMs)],
      lastSuccessAgoMs === undefined ? "" : `${formatAge(lastSuccessAgoMs)} ago`,
      lastFailure === undefined ? "" : `${formatAge(lastFailure.agoMs)} ago`,
      lastFailure?.reason,
    ],
  );
  const lines = notes.map((note) => `${escapeForTerminal(note, MAX_CHARS)}\n`).join("");
  return (rows.length === 0 ? "" : table(HEADING, rows)) + lines;
}

const MAX_CHARS = 1000;

// --- a test ---

function testCommand(): Command {
  return createCommand({
    name: "test",
    description:
      "Sends a signed event of the kind `test` from this machine to the receivers, and shows what they respond.",
    args: { "[receiver]": "By its name in the file; by default all." },
    options: [jsonOption(), ...commandOptions("webhooks", "webhookNetworks", "proxy")],
    run: (flags, name) => keepingAlive(() => testReceivers(flags, name)),
  });
}

async function testReceivers(flags: object, name: string | undefined): Promise<Output> {
  const { webhooks, webhookNetworks, proxy } = commandSettings(flags);
  if (webhooks === undefined) {
    throw new CommandError("there are no webhooks; give their file with --webhooks or CT_WEBHOOKS");
  }
  const { receivers, rules } = await readFile(webhooks, webhookNetworks);
  const chosen = receivers.filter((one) => name === undefined || one.name === name);
  if (chosen.length === 0) {
    const names = receivers.map((one) => one.name).join(", ");
    throw new CommandError(`there is no receiver ${JSON.stringify(name)}; there are: ${names}`);
  }
  const { tryReceiver } = await tools();
  const tried = await Promise.all(chosen.map((one) => tryReceiver(one, { rules, proxy })));
  const isAccepted = tried.every(({ attempt }) => attempt.outcome === "accepted");
  const lines = tried.map((one) => `${escapeForTerminal(describeTried(one), MAX_CHARS)}\n`);
  return { json: tried, out: lines.join(""), status: isAccepted ? 0 : 1 };
}

/** A parser of YAML and an HTTP client, which few commands need. */
function tools() {
  return import("../../../worker/webhooks/try-receiver.ts");
}

async function readFile(path: string, networks: readonly string[]) {
  const { ReceiversError, readReceiversAndRules } = await tools();
  try {
    return readReceiversAndRules(path, networks);
  } catch (error) {
    if (!(error instanceof ReceiversError)) throw error;
    throw mistakesIn(path, error.problems);
  }
}

function describeTried({ receiver, attempt, tookMs }: Tried): string {
  if (attempt.outcome === "accepted") {
    return `${receiver}: accepted with status ${attempt.status} in ${tookMs} ms`;
  }
  const reason = attempt.outcome === "failed" ? attempt.reason : "stopped";
  return `${receiver}: not accepted: ${reason} (after ${tookMs} ms)`;
}
