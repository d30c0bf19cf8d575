/** What contributors read names what is there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(root + path, "utf8");
const manifest = JSON.parse(read("package.json")) as {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly scripts: Readonly<Record<string, string>>;
};

test("the index of decisions has each record with its title, date and status", () => {
  const files = readdirSync(`${root}docs/adr`).filter((name) => /^\d/.test(name));
  const rows = files.map((file) => {
    const [title = "", , dated = ""] = read(`docs/adr/${file}`).split("\n");
    const [, date, status] = /^(\d{4}-\d{2}-\d{2}), (.+)\.$/.exec(dated) ?? [];
    const [, number, name] = /^# (\d+)\. (.+)$/.exec(title) ?? [];
    return `| ${number}. [${name}](${file}) | ${date} | ${status} |`;
  });
  const index = read("docs/adr/README.md").split("\n");
  expect(index.filter((line) => /^\| \d/.test(line))).toEqual(rows);
});

test("each npm script that CONTRIBUTING.md names exists", () => {
  const named = [...read("CONTRIBUTING.md").matchAll(/npm (?:run )?([a-z:0-9]+)/g)].map(
    ([, name = ""]) => name,
  );
  const known = new Set([...Object.keys(manifest.scripts), "version"]);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
  expect(named).toContain("test:unit");
});

test("each file that CONTRIBUTING.md and SECURITY.md name exists", () => {
  const paths = ["CONTRIBUTING.md", "SECURITY.md"].flatMap((file) =>
    [...read(file).matchAll(/(?:\]\(|`)([\w./-]+(?:\.(?:md|ts|mjs)|\/run))(?:#[\w-]+)?[)`]/g)].map(
      ([, path = ""]) => path,
    ),
  );
  expect(paths.length).toBeGreaterThan(10);
  expect(paths.filter((path) => !existsSync(root + path))).toEqual([]);
});

test("the workflow runs the gate on the oldest supported Node and on the newer ones", () => {
  const workflow = parse(read(".github/workflows/gate.yml")) as {
    readonly jobs: {
      readonly gate: {
        readonly strategy: { readonly matrix: { readonly node: readonly string[] } };
        readonly steps: readonly { readonly run?: string }[];
      };
    };
  };
  const { strategy, steps } = workflow.jobs.gate;
  expect(strategy.matrix.node).toEqual(["20", "22", "24"]);
  expect(manifest.engines.node).toBe(">=20.19");
  expect(steps.at(-1)?.run).toBe(".ci/run");
});

test("the changelog has a section for the version of package.json, with its date, below what is not released", () => {
  const [unreleased, newest] = read("CHANGELOG.md").match(/^## .+$/gm) ?? [];
  expect(unreleased).toBe("## Unreleased");
  expect(newest).toMatch(
    new RegExp(`^## ${manifest.version.replaceAll(".", "\\.")} — \\d{4}-\\d{2}-\\d{2}$`),
  );
});

test("the examples of the documentation name the version of package.json", () => {
  const named = ["install.md", "kubernetes.md"].flatMap((file) =>
    [...read(`docs/operators/${file}`).matchAll(/codetogether-edge[-:](\d+\.\d+\.\d+)/g)].map(
      ([, version]) => version,
    ),
  );
  expect(named.length).toBeGreaterThan(5);
  expect(new Set(named)).toEqual(new Set([manifest.version]));
});
