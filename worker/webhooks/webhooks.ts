/** Webhooks of one worker: the receivers in the file of CT_WEBHOOKS, the outbox, and the delivery while this worker leads. */

import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { ReportedReceiver, ReportedWebhooks } from "../../shared/cluster/status-reports.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createLeaderElection } from "../../shared/membership/leader-election.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Shutdown } from "../../shared/process/shutdown.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import { watchFiles } from "../../shared/settings/watched-file.ts";
import type { Store } from "../../shared/store/store.ts";
import { startDelivery } from "./delivery.ts";
import { createOutbox, type Outbox } from "./outbox.ts";
import { parseAddressRules } from "./receiver-addresses.ts";
import { AT_ONCE, type ReceiverState } from "./receiver-delivery.ts";
import type { Receiver } from "./receivers.ts";
import { ReceiversError, readReceivers } from "./receivers-file.ts";
import { createSender } from "./sender.ts";

export interface Webhooks {
  readonly outbox: Outbox;
  /** For the status report. */
  readonly state: ReportedWebhooks;
}

export interface WebhookOptions {
  /** Of the file with the receivers. */
  readonly path: string;
  /** In which receivers may be, besides the public ones. */
  readonly networks: readonly string[];
  readonly proxy: string | undefined;
}

const MAX_REASON_CHARS = 500;

/** Throws `SettingError`. */
export function startWebhooks(
  deps: {
    readonly worker: WorkerId;
    readonly store: Store;
    readonly clock: Clock;
    readonly log: Log;
    readonly counters: Counters;
    readonly shutdown: Pick<Shutdown, "add">;
  },
  { path, networks, proxy }: WebhookOptions,
): Webhooks {
  const { worker, store, clock, log, counters, shutdown } = deps;
  const rules = parseAddressRules(networks);
  const watch = watchFiles({ clock, log, onChange: readAgain });
  shutdown.add("files of webhooks", () => watch.close());
  let problem: string | undefined;
  let receivers = readFirst();

  function read(): readonly Receiver[] {
    watch.clear();
    return readReceivers(path, rules, (file) => watch.add(file));
  }

  function readFirst(): readonly Receiver[] {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ReceiversError)) throw error;
      throw new SettingError(`CT_WEBHOOKS=${JSON.stringify(path)} has mistakes: ${error.message}`);
    }
  }

  function readAgain(): void {
    try {
      receivers = read();
      problem = undefined;
      const names = receivers.map(({ name }) => name).join(", ");
      log.info({ receivers: names }, "webhooks: the receivers were read again");
      delivery.reload();
    } catch (error) {
      if (!(error instanceof ReceiversError)) throw error;
      problem = error.message;
      log.error(
        { path, problems: error.problems },
        "webhooks: the file, or one that it names, has mistakes, so the receivers stay as they were",
      );
    }
  }

  const common = { store, clock, log, counters };
  const outbox = createOutbox({ ...common, worker });
  shutdown.add("outbox of webhooks", () => outbox.close());
  const leadership = createLeaderElection("webhooks", { ...common, holder: worker });
  shutdown.add("leadership of webhooks", () => leadership.close());
  const delivery = startDelivery({
    ...{ ...common, leadership, worker, random: Math.random },
    receivers: () => receivers,
    createSender: (receiver) =>
      createSender({ receiver, rules, proxy, connections: AT_ONCE, clock }),
  });
  shutdown.add("delivery of webhooks", () => delivery.close());

  const byReceiver = (value: "backlog" | "oldestMs"): Record<string, number> =>
    Object.fromEntries((delivery.states ?? []).map((one) => [one.name, one[value]]));
  counters.gauge("worker.webhooks.pending", () => outbox.pending);
  counters.gauge("worker.webhooks.backlog", () => byReceiver("backlog"));
  counters.gauge("worker.webhooks.oldest_ms", () => byReceiver("oldestMs"));

  return {
    outbox,
    get state() {
      const { states } = delivery;
      return {
        pending: outbox.pending,
        ...(problem !== undefined && { problem: problem.slice(0, MAX_REASON_CHARS) }),
        ...(states !== undefined && { receivers: states.map(toReport) }),
      };
    },
  };
}

function toReport({ lastSuccessAgoMs, lastFailure, ...state }: ReceiverState): ReportedReceiver {
  return {
    ...state,
    ...(lastSuccessAgoMs !== undefined && { lastSuccessAgoMs: Math.round(lastSuccessAgoMs) }),
    ...(lastFailure !== undefined && {
      lastFailure: {
        reason: lastFailure.reason.slice(0, MAX_REASON_CHARS),
        agoMs: Math.round(lastFailure.agoMs),
      },
    }),
  };
}
