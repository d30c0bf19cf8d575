/** What a child process prints, as text. Its failure to start is part of it. */
import type { ChildProcess } from "node:child_process";

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  /** Both, in the order in which they came. */
  readonly all: string;
}

/** Of each text only the end is kept, `maxChars` long. */
export function outputOf(child: ChildProcess, maxChars = Number.POSITIVE_INFINITY): Output {
  const output = { stdout: "", stderr: "", all: "" };
  function add(name: "stdout" | "stderr", text: string): void {
    output[name] = (output[name] + text).slice(-maxChars);
    output.all = (output.all + text).slice(-maxChars);
  }
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => add(name, text));
  }
  child.on("error", ({ message }) => add("stderr", message));
  return output;
}
