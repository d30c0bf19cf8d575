/** The program of a benchmark's process: runs the file that its argument names. */
import { pathToFileURL } from "node:url";

const file = pathToFileURL(process.argv[2] ?? "");
const benchmark = (await import(file.href)) as { run(): Promise<void> };
await benchmark.run();
