/**
 * The files of the dashboard page: index.html and the bundles that edge/build.mjs makes from worker/web/dashboard. Each is read
 * and compressed once, at its first request.
 */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { productFile } from "../../shared/base/product-files.ts";

export interface PageFile {
  /** Below `/dashboard/`. */
  readonly path: string;
  readonly type: string;
  /** Undefined when it is missing: without a build there is no script. */
  read(): { readonly plain: Buffer; readonly gzipped: Buffer } | undefined;
}

export const PAGE_FILES: readonly PageFile[] = [
  pageFile("", "text/html; charset=utf-8", "index.html"),
  pageFile("dashboard.js", "text/javascript; charset=utf-8"),
  pageFile("dashboard.css", "text/css; charset=utf-8"),
];

const FOLDER = productFile("worker/web/dashboard/");

function pageFile(path: string, type: string, file = path): PageFile {
  let content: ReturnType<PageFile["read"]>;
  return {
    path,
    type,
    read() {
      content ??= readWhole(file);
      return content;
    },
  };
}

function readWhole(file: string): ReturnType<PageFile["read"]> {
  try {
    const plain = readFileSync(new URL(file, FOLDER));
    return { plain, gzipped: gzipSync(plain, { level: 9 }) };
  } catch {
    return undefined;
  }
}
