/** Alerts on webhooks. */
import { type Alert, ofOneWorker, samples } from "../rules/alert.ts";
import { metric } from "../rules/metric.ts";

const OLDEST = metric("worker.webhooks.oldest_ms");
const LOST = metric("worker.webhooks.lost");
const OF_BILLING = ',receiver="billing"';

export const WEBHOOK_ALERTS: readonly Alert[] = [
  {
    name: "WebhookReceiverBehind",
    severity: "warning",
    // Prometheus has seconds.
    expr: `max by (namespace, receiver) (${OLDEST}) > 300`,
    for: "0s",
    summary: "{{ $labels.receiver }} has not accepted an event for five minutes",
    description:
      "A receiver of webhooks is down or refuses an event. `ct-edge webhooks` shows what it responded last; other receivers are not delayed.",
    runbook: [
      "A receiver of CT_WEBHOOKS does not have an event that is older than five minutes. It is tried again until it accepts it, and gets the rest afterwards ([webhooks](webhooks.md)).",
      "- `ct-edge webhooks` shows the backlog and the last response, `ct-edge webhooks test NAME` tries it out.",
      "- The store keeps the newest 20,000 events: repair the receiver before that many have come.",
    ],
    fires: {
      series: [samples(ofOneWorker(OLDEST, OF_BILLING), "0+5x12 301+5x12")],
      labels: { receiver: "billing" },
    },
    staysQuiet: { series: [samples(ofOneWorker(OLDEST, OF_BILLING), "0+2x24")] },
  },
  {
    name: "WebhookEventsLost",
    severity: "warning",
    expr: `sum by (namespace, cause) (increase(${LOST}[10m])) > 0`,
    for: "0s",
    summary: "Receivers of webhooks do not get some events: {{ $labels.cause }}",
    description:
      "A receiver or the store was away for longer than events are kept, or the store refuses them. Receivers are told how many they have lost.",
    runbook: [
      "Events were dropped before receivers of CT_WEBHOOKS had them: `receiver away`, because 20,000 newer ones have come since; `store away` and `store full`, because a worker keeps 10,000 in its memory; `store refused`, because the store does not take them, as the worker's log says (permissions of Redis for `appendToStream`, or a version that does not know webhooks); `unreadable`, because an entry in the store is not an event.",
      "- Receivers get an event `events.lost` with their number ([webhooks](webhooks.md)).",
    ],
    fires: {
      series: [samples(ofOneWorker(LOST, ',cause="receiver away"'), "0x11 5x12")],
      labels: { cause: "receiver away" },
    },
    staysQuiet: { series: [samples(ofOneWorker(LOST, ',cause="receiver away"'), "5x24")] },
  },
];
