import { expect, onTestFinished, test } from "vitest";
import { startWorker } from "./fixture.ts";

const OPERATOR = { authorization: `Basic ${Buffer.from("ops:operator").toString("base64")}` };

test("/metrics on the public port is for operators, when it is enabled", async () => {
  const worker = await startWorker({ metricsPage: async () => "a 1\n" });
  onTestFinished(() => worker.stop());
  const page = await worker.ask("GET", "/metrics", { headers: OPERATOR });
  expect(page).toMatchObject({ status: 200, body: "a 1\n" });
  expect((await worker.ask("GET", "/metrics")).status).toBe(401);
});

test("/metrics on the public port does not exist when it is disabled, even with the right credentials", async () => {
  const worker = await startWorker();
  onTestFinished(() => worker.stop());
  expect((await worker.ask("GET", "/metrics", { headers: OPERATOR })).status).toBe(404);
});
