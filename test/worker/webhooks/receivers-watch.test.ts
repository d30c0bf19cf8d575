/** A worker whose receivers' files change: the file of CT_WEBHOOKS, and the secrets and authorities that it names. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { startWebhooks, type Webhooks } from "../../../worker/webhooks/webhooks.ts";
import { collectingLog } from "../../support/logs.ts";
import { openStore, startRedis } from "../../support/redis.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import { newSecret, startWebhookReceiver } from "../../support/webhook-receiver.ts";

interface Rig {
  readonly folder: string;
  readonly webhooks: Webhooks;
  /** How often the receivers were read again. */
  readonly timesRead: () => number;
}

async function start(receiver: object, files: Readonly<Record<string, string>>): Promise<Rig> {
  const folder = tempFolder();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const path = join(folder, "webhooks.yaml");
  writeFileSync(path, JSON.stringify({ receivers: [{ name: "one", ...receiver }] }));
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  onTestFinished(() => store.close());
  const { log, lines } = collectingLog();
  const webhooks = startWebhooks(
    {
      ...{ worker: "worker-1" as WorkerId, store, clock: systemClock, log },
      counters: createCounters(),
      shutdown: { add: (_, close) => onTestFinished(async () => close()) },
    },
    { path, networks: ["127.0.0.0/8"], proxy: undefined },
  );
  const timesRead = (): number =>
    lines.filter((line) => line.includes("the receivers were read again")).length;
  return { folder, webhooks, timesRead };
}

test("a secret is rotated by writing its file", async () => {
  const [before, after] = [newSecret(), newSecret()];
  const receiver = await startWebhookReceiver({ secret: after });
  const { folder, webhooks, timesRead } = await start(
    { url: receiver.url, secretFile: "secret" },
    { secret: before },
  );
  // It is written in place, and has the same size.
  writeFileSync(join(folder, "secret"), after);
  await until("it is read again", () => timesRead() === 1);
  webhooks.outbox.write({ id: "1", kind: "sign-in", atMs: 0, worker: "worker-1" });
  await until("the event has come", () => receiver.events.length === 1, 20_000);
  expect(receiver.problems).toEqual([]);
}, 30_000);

test("an authority that is replaced is read again; a file that is gone is a problem until it is back", async () => {
  const { folder, webhooks, timesRead } = await start(
    { url: "https://127.0.0.1:1", secretFile: "secret", caFile: "ca.pem" },
    { secret: newSecret(), "ca.pem": "PEM 1" },
  );
  writeFileSync(join(folder, "new"), "PEM 2");
  renameSync(join(folder, "new"), join(folder, "ca.pem"));
  await until("it is read again", () => timesRead() === 1);
  rmSync(join(folder, "secret"));
  await until("it is a problem", () => webhooks.state.problem?.includes("ENOENT"));
  writeFileSync(join(folder, "secret"), newSecret());
  await until("it is read again", () => timesRead() === 2);
  expect(webhooks.state.problem).toBeUndefined();
});

test("a file that is named later is watched, too", async () => {
  const { folder, timesRead } = await start(
    { url: "https://127.0.0.1:1", secretFile: "first" },
    { first: newSecret(), second: newSecret() },
  );
  const receiver = { name: "one", url: "https://127.0.0.1:1", secretFile: "second" };
  writeFileSync(join(folder, "webhooks.yaml"), JSON.stringify({ receivers: [receiver] }));
  await until("it is read again", () => timesRead() === 1);
  writeFileSync(join(folder, "second"), newSecret());
  await until("it is read again", () => timesRead() === 2);
});
