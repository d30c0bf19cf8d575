/** `ct-edge top` as operators run it, on a pipe and on a terminal, while a session starts and a worker is killed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import type { TopAnswer } from "../../edge/commands/cluster/top.ts";
import { PROGRAM, runCommand } from "../support/command.ts";
import { hasProgram } from "../support/debian.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { outputOf } from "../support/output.ts";
import { openSession } from "../support/people.ts";
import { until } from "../support/until.ts";

let edge: EdgeProcess;
beforeAll(async () => {
  edge = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
});

const run = (...args: string[]) => runCommand(args, { CT_DATA_DIR: edge.dataDir });

async function top(): Promise<TopAnswer> {
  const { stdout, stderr, status } = await run("top", "--json");
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  return JSON.parse(stdout) as TopAnswer;
}

test("ct-edge top shows a session, and the restart of a worker", { timeout: 90_000 }, async () => {
  const before = await until("all is known", async () => {
    const answer = await top();
    return answer.workers[0]?.restarts === 0 && answer.balancers.length === 1 && answer;
  });
  expect(before.overview.tiles).toMatchObject({ usersOnline: 0, sessionsActive: 0 });
  await openSession({ baseUrl: edge.httpUrl, guestCount: 1 });
  await until(
    "the session and its streams are counted",
    async () => {
      const { overview, workers } = await top();
      const { sessionsActive, usersOnline } = overview.tiles;
      const streams = HAS_LINKS ? 2 : 0;
      return (
        sessionsActive === 1 && usersOnline === 2 && (workers[0]?.link?.streams ?? 0) >= streams
      );
    },
    30_000,
  );
  const shown = await run("top");
  expect(shown.stdout).toMatch(/^edge \S+ {2}\S+Z {2}store up \(.* ms\)\npeople 2 {2}sessions 1 /);
  expect(shown.stdout).toMatch(/^worker +worker-1 +up +1 +2 +\S+ ms {2}(open|off) +\d+ /m);

  process.kill(edge.readFile().workers[0]?.pid ?? 0, "SIGKILL");
  await until("it says so", async () => (await top()).workers[0]?.restarts === 1, 30_000);
});

test.runIf(hasProgram("script", ["bsdutils"], "ct-edge top on a terminal"))(
  "ct-edge top goes on until Ctrl-C on a terminal, and leaves it as it was",
  async () => {
    const command = `stty rows 20 columns 100; exec ${process.execPath} ${PROGRAM} top --data-dir ${edge.dataDir}`;
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const screen = outputOf(child);
    const frames = (): string[] => screen.stdout.split("\u001b[H").slice(1);
    await until("it was shown twice", () => frames().length >= 3);
    expect(screen.stdout.startsWith("\u001b[?1049h\u001b[?25l")).toBe(true);
    expect(frames()[0]).toMatch(/^edge \S+ /);
    const exited = once(child, "exit");
    child.stdin.write("\u0003");
    expect((await exited)[0]).toBe(0);
    expect(screen.stdout.endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
  },
);
