/** Runs a job with the certificate authority in a thread, so that the data path does not wait for it. */
import { Worker } from "node:worker_threads";
import { IS_SOURCE, productFile } from "../../shared/base/product-files.ts";
import type { TakeStep } from "./ca-jobs.ts";
import type { CaJob, CaResult, FromThread, StepTaken } from "./ca-protocol.ts";

/** Longer than an authority that responds may take for all steps together. */
const MAX_JOB_MS = 10 * 60_000;

/**
 * Calls `takeStep` for each step that must be in the store before the next one; when that rejects, the job stops and this
 * rejects with the same.
 */
export async function askCa(
  job: CaJob,
  takeStep: TakeStep,
  signal: AbortSignal,
): Promise<CaResult> {
  if (IS_SOURCE) {
    // The sources are not JavaScript, which is what a thread can load.
    const { runJob } = await import("./ca-jobs.ts");
    const stopped: unknown[] = [];
    const result = await runJob(job, (step) =>
      takeStep(step).catch((error: unknown) => {
        stopped.push(error);
        throw error;
      }),
    );
    if (stopped.length > 0) throw stopped[0];
    return result;
  }
  const thread = new Worker(productFile("balancer/acme/ca-thread.js"), { workerData: job });
  // A process that stops does not wait for it.
  thread.unref();
  const ended = AbortSignal.any([signal, AbortSignal.timeout(MAX_JOB_MS)]);
  try {
    return await new Promise<CaResult>((resolve, reject) => {
      thread.on("message", (message: FromThread) => {
        if (message.type === "result") {
          resolve(message.result);
          return;
        }
        const taken: StepTaken = { number: message.number };
        takeStep(message.step).then(() => thread.postMessage(taken), reject);
      });
      thread.once("error", reject);
      thread.once("exit", (status) => reject(new Error(`the thread ended with status ${status}`)));
      ended.addEventListener("abort", () => reject(ended.reason), { once: true });
    });
  } finally {
    await thread.terminate();
  }
}
