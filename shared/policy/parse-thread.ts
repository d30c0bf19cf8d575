/** The thread of parse-aside.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { parsePolicy } from "./parse-policy.ts";

parentPort?.postMessage(parsePolicy(String(workerData)));
