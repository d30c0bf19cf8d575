/**
 * Builds dist/, which tests of whole processes start.
 */
let built: Promise<void> | undefined;

/** Builds dist/ if it is older than the sources; `npm test` has already done so. */
export function buildOnce(): Promise<void> {
  refuseInUnits();
  built ??= import(new URL("../../edge/build.mjs", import.meta.url).href).then(
    (build: { buildWhenStale(): void }) => build.buildWhenStale(),
  );
  return built;
}

/** What starts a process calls this first, so that `npm run test:unit` stays without any. */
export function refuseInUnits(): void {
  if (process.env["TEST_UNITS"] !== undefined) {
    throw new Error("units start no process; name the file in SERVICES of vitest.config.ts");
  }
}
