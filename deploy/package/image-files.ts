/**
 * The files that the Dockerfile adds to its base image, with their digests, in the form of `sha256sum`. Computed from the
 * sources and dist/, without a container engine.
 */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { byName, ROOT, readFolder, readSource } from "./files.ts";

/** Needs a build in dist/. Throws at a COPY that it does not understand. */
export function listImageFiles(): string {
  const lines = readSource("Dockerfile").replaceAll("\\\n", " ").split("\n");
  const lastStage = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
  const workdir = lastStage.find((line) => line.startsWith("WORKDIR "))?.split(" ")[1] ?? "/";
  const copied = lastStage
    .filter((line) => line.startsWith("COPY "))
    .flatMap((line) => filesOf(line, workdir));
  return copied
    .toSorted((a, b) => byName(a.path, b.path))
    .map(({ path, content }) => `${digest(content)}  ${path}\n`)
    .join("");
}

interface ImageFile {
  readonly path: string;
  readonly content: Buffer;
}

function filesOf(line: string, workdir: string): ImageFile[] {
  const words = line.trim().split(/\s+/).slice(1);
  const from = words[0]?.startsWith("--from=build") ? words.shift() : undefined;
  if (words.length < 2 || words.some((word) => /^--|[[*$]/.test(word))) {
    throw new Error(`Dockerfile: the list of the image's files does not understand: ${line}`);
  }
  const sources = words.slice(0, -1).map((source) => (from ? inBuild(source, workdir) : source));
  const target = resolve(workdir, words.at(-1) ?? "");
  const isFolder = (words.at(-1) ?? "").endsWith("/") || sources.length > 1;
  return sources.flatMap((source) => {
    if (statSync(join(ROOT, source)).isDirectory()) {
      return readFolder(source).map(({ path, content }) => ({
        path: join(target, path),
        content,
      }));
    }
    const path = isFolder || target === workdir ? join(target, basename(source)) : target;
    return [{ path, content: readFileSync(join(ROOT, source)) }];
  });
}

/** The stage `build` has the sources in the same folder. */
function inBuild(source: string, workdir: string): string {
  if (!source.startsWith(`${workdir}/`))
    throw new Error(`Dockerfile: not in ${workdir}: ${source}`);
  return source.slice(workdir.length + 1);
}

function digest(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
