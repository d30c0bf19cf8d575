/**
 * What tests of whole processes start: dist/, built from the sources as they are.
 */
let built: Promise<void> | undefined;

/** Builds when dist/ is not what the sources say; `npm test` has done so before. */
export function buildOnce(): Promise<void> {
  built ??= import(new URL("../../edge/build.mjs", import.meta.url).href).then(
    (build: { buildWhenStale(): void }) => build.buildWhenStale(),
  );
  return built;
}
