/**
 * The import graph of the sources has no circles, between files and between folders, type imports included. The
 * linter's own rule does not see imports of types. No file and no stack of folders grows beyond what a newcomer can read.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

const root = fileURLToPath(new URL("..", import.meta.url));
const IMPORT = /(?:from|import)\s*\(?\s*"(\.[^"]+\.tsx?)"/g;

const sources = ["balancer", "worker", "shared", "edge", "deploy"].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(top, name)),
);

const files = graphOf((file) => file);

test("no file imports itself through other files", () => {
  expect(circleOf(files)).toEqual([]);
});

test("no folder imports itself through other folders", () => {
  expect(circleOf(graphOf(dirname))).toEqual([]);
});

test("balancer and worker do not import each other, shared imports neither, and none of them imports edge", () => {
  const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
    shared: ["balancer", "worker", "edge"],
    balancer: ["worker", "edge"],
    worker: ["balancer", "edge"],
  };
  const wrong = [...files].flatMap(([file, imported]) =>
    [...imported]
      .filter((other) => FORBIDDEN[topOf(file)]?.includes(topOf(other)))
      .map((other) => `${file} imports ${other}`),
  );
  expect(wrong).toEqual([]);
});

test("the folders of balancer/ are at most 7 layers of imports", () => {
  const inside = [...graphOf(dirname)].filter(([folder]) => folder.startsWith("balancer/"));
  expect(layersOf(new Map(inside))).toBeLessThanOrEqual(7);
});

test("no source file has more than 450 lines", () => {
  const long = sources
    .map((file) => ({ file, lines: readFileSync(join(root, file), "utf8").split("\n").length - 1 }))
    .filter(({ lines }) => lines > 450);
  expect(long).toEqual([]);
});

/** The imports between places; `place` maps a file to its place (itself or its folder). */
function graphOf(place: (file: string) => string): Graph {
  const graph = new Map<string, Set<string>>();
  for (const file of sources) {
    const imported = graph.get(place(file)) ?? new Set<string>();
    graph.set(place(file), imported);
    for (const [, path = ""] of readFileSync(join(root, file), "utf8").matchAll(IMPORT)) {
      const other = place(join(dirname(file), path));
      if (other !== place(file)) imported.add(other);
    }
  }
  return graph;
}

/** The places on the first circle that is found; empty if there is none. */
function circleOf(graph: Graph): string[] {
  const done = new Set<string>();
  const path: string[] = [];

  function visit(place: string): string[] | undefined {
    const at = path.indexOf(place);
    if (at >= 0) return [...path.slice(at), place];
    if (done.has(place)) return undefined;
    path.push(place);
    for (const other of graph.get(place) ?? []) {
      const circle = visit(other);
      if (circle !== undefined) return circle;
    }
    path.pop();
    done.add(place);
    return undefined;
  }

  for (const place of graph.keys()) {
    const circle = visit(place);
    if (circle !== undefined) return circle;
  }
  return [];
}

/** Places on the longest chain of imports. Places outside the graph do not count; it has no circles. */
function layersOf(graph: Graph): number {
  const depths = new Map<string, number>();

  function depthOf(place: string): number {
    const known = depths.get(place);
    if (known !== undefined) return known;
    const below = [...(graph.get(place) ?? [])].filter((other) => graph.has(other)).map(depthOf);
    const depth = 1 + Math.max(0, ...below);
    depths.set(place, depth);
    return depth;
  }

  return Math.max(...[...graph.keys()].map(depthOf));
}

function topOf(file: string): string {
  return file.split("/", 1)[0] ?? "";
}
