/**
 * Builds dist/, which tests of whole processes start.
 */
let built: Promise<void> | undefined;

/** Builds dist/ if it is older than the sources; `npm test` has already done so. */
export function buildOnce(): Promise<void> {
  built ??= import(new URL("../../edge/build.mjs", import.meta.url).href).then(
    (build: { buildWhenStale(): void }) => build.buildWhenStale(),
  );
  return built;
}
