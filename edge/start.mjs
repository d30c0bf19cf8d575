// `npm start`: installs missing packages, builds when sources have changed, and runs `ct-edge`. Plain JavaScript, because it
// runs before both.
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
