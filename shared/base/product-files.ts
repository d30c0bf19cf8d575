/**
 * Where the product's own files are. In the sources every module is two folders deep or deeper; the build (edge/build.mjs)
 * makes few files of them, each one folder deep, and copies what is not a module to its place below the same root.
 */

/** Folder of the programs' folders: the top of the sources, or dist/. */
const ROOT = new URL(import.meta.url.endsWith(".ts") ? "../../" : "../", import.meta.url);

/** `path`: relative to the root, as `worker/web/login.css`. */
export function productFile(path: string): URL {
  return new URL(path, ROOT);
}

/** Whether these are the sources, run by tsx, and not a build. */
export const IS_SOURCE: boolean = import.meta.url.endsWith(".ts");
