/** The files that the kit makes are those that are checked in, and the evaluator of the chart's tests refuses what it does not know. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { CHART_FOLDER, kitFiles } from "../../deploy/kit/files.ts";
import { call, literal, value } from "../../deploy/kit/model/expression.ts";
import { fields, note, text, when } from "../../deploy/kit/model/node.ts";
import { printYaml } from "../../deploy/kit/model/print.ts";
import { loadTemplates } from "../support/helm/evaluate.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

// --- what is checked in ---

test("the checked-in files of the kit are what `npm run kit` makes", () => {
  for (const [path, content] of Object.entries(kitFiles(read))) {
    expect(existsSync(join(ROOT, path)), `${path} is missing: run npm run kit`).toBe(true);
    expect(read(path), `${path} is out of date: run npm run kit`).toBe(content);
  }
});

test("the chart has no file that the kit does not make", () => {
  const made = Object.keys(kitFiles(read)).filter((path) => path.startsWith(CHART_FOLDER));
  const found = readdirSync(join(ROOT, CHART_FOLDER), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length));
  expect(found.toSorted()).toEqual(made.toSorted());
});

// --- the printer ---

test("a tree with parts is printed as a template", () => {
  const tree = fields(
    note("why"),
    { name: text(call("printf", literal("%s-x"), value("name"))), mode: "on" },
    when(value("isOn"), { list: ["a", when(value("more"), "b")] }),
  );
  expect(printYaml(tree)).toBe(`# why
name: {{ printf "%s-x" $.Values.name | quote }}
mode: "on"
{{- if $.Values.isOn }}
list:
  - a
  {{- if $.Values.more }}
  - b
  {{- end }}
{{- end }}
`);
});

test("a list item that begins with a part is refused", () => {
  expect(() => printYaml([fields(when(value("a"), { b: 1 }), { c: 2 })])).toThrow(
    "begins with a part",
  );
});

// --- the evaluator ---

const render = (source: string, values: object = {}): string =>
  loadTemplates({ it: source }).render("it", { Values: values });

test("templates are evaluated as Go does", () => {
  expect(render("a\n{{- if .Values.a }}\nb\n{{- else }}\nc\n{{- end }}\n", { a: 0 })).toBe(
    "a\nc\n",
  );
  expect(render("{{ with .Values.a }}{{ . | quote }}{{ end }}", { a: 'x"' })).toBe('"x\\""');
  expect(render("{{ range $.Values.a }}[{{ . }}]{{ end }}", { a: ["x", "y"] })).toBe("[x][y]");
  expect(render("x:\n  {{- toYaml .Values.a | nindent 2 }}", { a: { b: "on", c: [1] } })).toBe(
    'x:\n  b: "on"\n  c:\n  - 1',
  );
  expect(
    render('{{ define "n" }}{{ .Values.a | int }}{{ end }}{{ include "n" . }}', { a: 1e6 }),
  ).toBe("1000000");
});

test("what is outside of the subset of templates is refused", () => {
  for (const source of [
    "{{ $x := 1 }}",
    "{{ range $i, $x := .Values.a }}{{ end }}",
    '{{ template "n" . }}',
    "{{ lookup .Values.a }}",
    "{{ if .Values.a }}",
    "{{ end }}",
    "{{ if .Values.a }}{{ else if .Values.b }}{{ end }}",
    "{{ .Values.a.b }}",
    "{{ .Values.number }}",
    '{{ eq .Values.a "x" }}',
    "{{ 'x' }}",
    "{{ (.Values.a }}",
    "{{ unclosed",
  ]) {
    expect(() => render(source, { number: 1_000_000 }), source).toThrow();
  }
});
