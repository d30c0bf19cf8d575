/**
 * `npm run test:upgrade -- COMMIT`: this version and that one side by side. It installs and builds the other one first, so it is
 * not part of `npm test`.
 */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    setupFiles: "test/support/setup.ts",
    include: ["test/upgrade/*.check.ts"],
    testTimeout: 240_000,
    hookTimeout: 600_000,
    fileParallelism: false,
  },
});
