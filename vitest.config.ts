import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Whole processes and RSA keys: slow machines need room, a hanging test must still end.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two test files at a time: end-to-end files start five processes each.
    maxWorkers: 2,
    restoreMocks: true,
  },
});
