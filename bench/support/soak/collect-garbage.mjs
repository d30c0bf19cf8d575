/**
 * Loaded into measured processes (`node --import`): on SIGUSR2 the process collects its garbage, which is not growth, and
 * sends the used bytes of its heap to the process that has started it.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

process.on("SIGUSR2", () => {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  process.send?.({ type: "garbage-collected", bytes: heapUsed + external });
});
