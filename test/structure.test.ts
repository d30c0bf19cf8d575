/**
 * How the sources hang together: imports point one way, between files and between folders, type imports included. The
 * linter's own rule does not see imports of types.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

const root = fileURLToPath(new URL("..", import.meta.url));
const IMPORT = /(?:from|import)\s*\(?\s*"(\.[^"]+\.ts)"/g;

const sources = ["balancer", "worker", "shared", "edge"].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(top, name)),
);

const files = graphOf((file) => file);

test("no file imports itself by way of others", () => {
  expect(circleOf(files)).toEqual([]);
});

test("no folder imports itself by way of others", () => {
  expect(circleOf(graphOf(dirname))).toEqual([]);
});

test("balancer and worker know nothing of each other, shared nothing of both, and none of them of edge", () => {
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

/** Who imports whom; `place` says what stands for a file. */
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

/** The first circle that is found, as the places on it; empty when there is none. */
function circleOf(graph: Graph): string[] {
  const done = new Set<string>();
  const path: string[] = [];

  function withStore(place: string): string[] | undefined {
    const at = path.indexOf(place);
    if (at >= 0) return [...path.slice(at), place];
    if (done.has(place)) return undefined;
    path.push(place);
    for (const other of graph.get(place) ?? []) {
      const hashRing = withStore(other);
      if (hashRing !== undefined) return hashRing;
    }
    path.pop();
    done.add(place);
    return undefined;
  }

  for (const place of graph.keys()) {
    const hashRing = withStore(place);
    if (hashRing !== undefined) return hashRing;
  }
  return [];
}

function topOf(file: string): string {
  return file.split("/", 1)[0] ?? "";
}
