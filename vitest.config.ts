import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** End-to-end files take longest whatever their size: begun at the end, the last one would run alone. */
class EndToEndFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isEndToEnd = ({ moduleId }: TestSpecification): boolean => moduleId.includes("/e2e/");
    return [...sorted.filter(isEndToEnd), ...sorted.filter((file) => !isEndToEnd(file))];
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Whole processes and RSA keys: slow machines need room, a hanging test must still end.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // End-to-end files start five processes each, which wait for more than a quarter of their time.
    maxWorkers: 3,
    sequence: { sequencer: EndToEndFirst },
    restoreMocks: true,
  },
});
