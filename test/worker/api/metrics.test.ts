import { expect, onTestFinished, test } from "vitest";
import { startWorker } from "./fixture.ts";

const OPERATOR = { authorization: `Basic ${Buffer.from("ops:operator").toString("base64")}` };

test("/metrics is on the public port for operators, where it is wanted", async () => {
  const worker = await startWorker({ metricsPage: async () => "a 1\n" });
  onTestFinished(() => worker.stop());
  const page = await worker.ask("GET", "/metrics", { headers: OPERATOR });
  expect(page).toMatchObject({ status: 200, body: "a 1\n" });
  expect((await worker.ask("GET", "/metrics")).status).toBe(401);
});

test("/metrics is not there where it is not wanted, with the right credentials either", async () => {
  const worker = await startWorker();
  onTestFinished(() => worker.stop());
  expect((await worker.ask("GET", "/metrics", { headers: OPERATOR })).status).toBe(404);
});
