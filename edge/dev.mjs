// `npm run dev`: the whole edge of this machine from the sources, started again after each change of them. What does not build
// is reported, and the edge that runs goes on. Arguments are those of `ct-edge start`. Plain JavaScript, because it runs before
// the build.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { fileURLToPath } from "node:url";
import { installMissing } from "./install.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Editors write a file in several steps, and git many files at once. */
const SETTLED_MS = 150;

/** The edge that runs, as a process. */
let edge;
/** An edge that ends by itself is not started again until a source changes. */
let isStopping = false;

installMissing();
const { buildWhenStale, SOURCE_FOLDERS } = await import("./build.mjs");

/** `unchanged`: dist/ was built from these sources. */
function build() {
  try {
    return buildWhenStale({ sourceMaps: true }) ? "built" : "unchanged";
  } catch (error) {
    // esbuild has printed the place.
    process.stderr.write(`dev: not built: ${error.message.split("\n")[0]}\n`);
    return "failed";
  }
}

function start() {
  edge = spawn(process.execPath, [`${root}dist/edge/main.js`, ...process.argv.slice(2)], {
    cwd: root,
    stdio: "inherit",
    // A process group of its own: Ctrl-C reaches it through this program only. A second signal would end it at once.
    detached: true,
    // Its processes inherit it: their stack traces name lines of the sources.
    env: { ...process.env, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --enable-source-maps` },
  });
  edge.once("exit", (status) => {
    edge = undefined;
    if (isStopping) return;
    process.stderr.write(
      `dev: the edge ended with status ${status}; change a source to start it\n`,
    );
  });
}

/** Sessions wait in the journal meanwhile: people return to them. */
async function stop() {
  if (edge === undefined) return;
  isStopping = true;
  const ended = once(edge, "exit");
  edge.kill("SIGTERM");
  await ended;
  isStopping = false;
}

/** One change after the other. */
let changes = Promise.resolve();
let settled;

function onChange() {
  clearTimeout(settled);
  settled = setTimeout(() => {
    changes = changes.then(async () => {
      if (build() !== "built") return;
      process.stderr.write("dev: built, starting again\n");
      await stop();
      start();
    });
  }, SETTLED_MS);
}

for (const folder of SOURCE_FOLDERS) watch(root + folder, { recursive: true }, onChange);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    clearTimeout(settled);
    changes = changes.then(stop).then(() => process.exit());
  });
}
if (build() !== "failed") start();
