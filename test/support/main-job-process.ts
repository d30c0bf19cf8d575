/**
 * Plays the main job in a separate process, because Node reads `NODE_EXTRA_CA_CERTS` only at its start. The argument is the
 * job as JSON; the report is printed on standard output as JSON.
 */
import { type MainJob, playMainJob } from "./main-job.ts";

const report = await playMainJob(JSON.parse(process.argv[2] ?? "") as MainJob);
process.stdout.write(JSON.stringify(report), () => {
  // The package keeps a timer of 30 s for each connection that it has closed.
  process.exit(0);
});
