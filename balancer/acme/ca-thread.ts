/** The thread of ask-ca.ts: its packages are as large as a balancer, and it computes for a quarter of a second. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { runJob } from "./ca-jobs.ts";
import type { CaJob, CaStep, FromThread, StepTaken } from "./ca-protocol.ts";

const port = parentPort as MessagePort;
const waiting = new Map<number, () => void>();
let steps = 0;
port.on("message", ({ number }: StepTaken) => {
  waiting.get(number)?.();
  waiting.delete(number);
});

function takeStep(step: CaStep): Promise<void> {
  const number = ++steps;
  return new Promise((resolve) => {
    waiting.set(number, resolve);
    post({ type: "step", number, step });
  });
}

function post(message: FromThread): void {
  port.postMessage(message);
}

post({ type: "result", result: await runJob(workerData as CaJob, takeStep) });
port.close();
