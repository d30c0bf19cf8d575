// `npm start`: installs what is missing, builds when the sources changed, and becomes `ct-edge`. Plain JavaScript, because
// it runs before anything is there.
import { installMissing } from "./install.mjs";

try {
  installMissing();
  const { buildWhenStale } = await import("./build.mjs");
  buildWhenStale();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
await import("../dist/edge/main.js");
