// A process that a test's supervisor starts instead of a balancer or worker: it is ready at once, and ends as its
// environment says. DRAIN=1: it hands over first, until a message `{ type: "exited" }` lets it go on. HANG=1: it never ends.
// DIE_ON_RELEASE=1: it is killed when it is asked to release its ports. It prints how long it may warm up, and each SIGHUP.
const { DRAIN, HANG, DIE_ON_RELEASE, CT_STANDBY, CT_WARM_UP_MS } = process.env;
const READY = { type: "ready", statusPort: 1 };

process.on("SIGHUP", () => console.log("SIGHUP"));
console.log(`warm-up: ${CT_WARM_UP_MS}`);
process.send(CT_STANDBY === "1" ? { type: "standby" } : READY);
process.on("disconnect", () => process.exit(0));
process.on("message", ({ type }) => {
  if (type === "open-ports") process.send(READY);
  if (type === "release-ports" && DIE_ON_RELEASE) process.kill(process.pid, "SIGKILL");
  if (type === "stop" && !HANG && !DRAIN) process.exit(0);
  if (type === "stop" && DRAIN) process.send({ type: "draining", sessions: 1 });
  if (type === "exited" && DRAIN) process.send({ type: "drained", left: 0 }, () => process.exit(0));
});
