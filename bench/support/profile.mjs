/** Preloaded by `NODE_OPTIONS=--import`: writes a CPU profile of the process when it exits, into `PROFILE_DIR`. */
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector";

const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.setSamplingInterval", { interval: 500 });
session.post("Profiler.start");
process.once("exit", () => {
  session.post("Profiler.stop", (error, stopped) => {
    if (error) return;
    const file = `${process.env.PROFILE_DIR}/${process.pid}.cpuprofile`;
    writeFileSync(file, JSON.stringify(stopped.profile));
  });
});
