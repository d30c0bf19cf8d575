/** Parses a large policy in a thread: 10,000 rules of YAML take a second, in which a worker would do nothing else. */
import { Worker } from "node:worker_threads";
import { IS_SOURCE, productFile } from "../base/product-files.ts";
import { type ParsedPolicy, parsePolicy } from "./parse-policy.ts";

/** A shorter one takes less time than a thread takes to start. */
const ASIDE_CHARS = 32 * 1024;

/** Rejects when the thread fails, for example because there is no memory. */
export async function parsePolicyAside(text: string): Promise<ParsedPolicy> {
  // The sources are not JavaScript, which is what a thread can load.
  if (IS_SOURCE || text.length < ASIDE_CHARS) return parsePolicy(text);
  const thread = new Worker(productFile("shared/policy/parse-thread.js"), { workerData: text });
  // A process that stops does not wait for it.
  thread.unref();
  try {
    return await new Promise<ParsedPolicy>((resolve, reject) => {
      thread.once("message", resolve);
      thread.once("error", reject);
      thread.once("exit", (status) => reject(new Error(`the thread ended with status ${status}`)));
    });
  } finally {
    await thread.terminate();
  }
}
