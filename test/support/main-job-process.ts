/**
 * Plays the main job in a process of its own: certificates that Node shall trust (`NODE_EXTRA_CA_CERTS`) must be named
 * when a process starts. One argument, the job as JSON; the report comes out on standard output as JSON.
 */
import { type MainJob, playMainJob } from "./main-job.ts";

const report = await playMainJob(JSON.parse(process.argv[2] ?? "") as MainJob);
process.stdout.write(JSON.stringify(report), () => {
  // The package keeps a timer of 30 s for each connection that it has closed.
  process.exit(0);
});
