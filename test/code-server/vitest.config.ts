/**
 * `npm run test:code-server`: a real code-server, which it installs itself; minutes and a network, so not part of `npm
 * test`.
 */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    setupFiles: "test/support/setup.ts",
    include: ["test/code-server/*.check.ts"],
    testTimeout: 180_000,
    hookTimeout: 900_000,
  },
});
