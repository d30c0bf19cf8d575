/** Usage over two workers, with unmodified clients of several names, while sessions move and workers die. */
import { fetch } from "undici";
import { expect, test } from "vitest";
import { startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { startEdge } from "../support/edge-process.ts";
import { everybodyHears, person } from "../support/people.ts";
import { until } from "../support/until.ts";

const PASSWORD = "the password of the operator";
const HEADERS = { authorization: `Basic ${Buffer.from(`ctuser:${PASSWORD}`).toString("base64")}` };

test("a session counts once, with IDEs, size and length, although it moves, its worker dies and people reconnect", async () => {
  const cluster = await startCluster({
    workers: 3,
    balancers: 1,
    env: { CT_DASHBOARD_USER: "ctuser", CT_DASHBOARD_PASSWORD: PASSWORD },
  });
  const baseUrl = cluster.balancers[0]?.url ?? "";

  /** The sums of the file's columns: midnight may come. */
  async function counted(): Promise<Readonly<Record<string, number>>> {
    const response = await fetch(`${baseUrl}/dashboard/usage.csv`, { headers: HEADERS });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    const [header = "", ...lines] = (await response.text()).trimEnd().split("\r\n");
    const rows = lines.map((line) => line.split(",").map(Number));
    const sumOf = (at: number) => rows.reduce((sum, cells) => sum + (cells[at] ?? 0), 0);
    return Object.fromEntries(header.split(",").map((name, at) => [name, sumOf(at)]));
  }
  async function ownerOf(sessionId: string): Promise<string> {
    const { stdout } = await runCommand([
      "sessions",
      "--json",
      "--full",
      "--redis",
      cluster.redisUrl,
    ]);
    const { sessions } = JSON.parse(stdout) as { sessions: { id: string; owner: string }[] };
    return sessions.find(({ id }) => id === sessionId)?.owner ?? "";
  }
  const ada = person({ baseUrl, name: "Ada", client: "OCT_CODE_Visual_Studio_Code@0.3.8" });
  const sessionId = await ada.host();
  const ben = person({ baseUrl, name: "Ben", client: "Eclipse Theia" });
  const cleo = person({
    baseUrl,
    name: "Cleo",
    client: '=HYPERLINK("https://evil.example","IntelliJ")',
  });
  for (const guest of [ben, cleo]) await guest.join(sessionId);
  await until("all three are counted", async () => (await counted())["joined"] === 2);
  await cleo.leave();

  // A move, and a crash: the worker that ends the session has seen two people in it at most.
  const first = await ownerOf(sessionId);
  const drained = await runCommand(["drain", first, "--redis", cluster.redisUrl]);
  expect(drained.status).toBe(0);
  await until("it has moved", async () => (await ownerOf(sessionId)) !== first, 20_000);
  await everybodyHears(ada, [ben], "after the move");
  const second = await ownerOf(sessionId);
  await cluster.workers.find(({ id }) => id === second)?.kill();
  await until("it has been taken over", async () => (await ownerOf(sessionId)) !== second, 30_000);
  await everybodyHears(ada, [ben], "after the crash");

  const dan = person({ baseUrl, name: "Dan", client: "CodeTogether edge web client" });
  await dan.host();
  await dan.leave();
  await ada.leave();
  await until("both sessions have ended", async () => (await counted())["ended"] === 2, 20_000);
  expect(await counted()).toMatchObject({
    ...{ hosted: 2, hosted_vscode: 1, hosted_browser: 1, hosted_theia: 0 },
    ...{ joined: 2, joined_theia: 1, joined_intellij: 1, joined_vscode: 0 },
    ...{ ended: 2, people_1: 1, people_2: 0, people_3: 1, minutes_0_5: 2 },
  });

  // The worker on which Dan was reports who is there a few seconds later.
  await until("the command knows all", async () => {
    const { stdout } = await runCommand(["usage", "--redis", cluster.redisUrl]);
    return stdout.startsWith(
      "different people in 30 days: 4\nhosted with: 1 VS Code, 1 browser\njoined with: 1 IntelliJ, 1 Theia\n",
    );
  });
  const csv = await runCommand(["usage", "--csv", "--redis", cluster.redisUrl]);
  const response = await fetch(`${baseUrl}/dashboard/usage.csv`, { headers: HEADERS });
  expect(csv.stdout).toBe(await response.text());
  expect(csv.stdout).not.toContain("HYPERLINK");
  const json = await runCommand(["usage", "--json", "--days", "7", "--redis", cluster.redisUrl]);
  expect(JSON.parse(json.stdout)).toMatchObject({ days: 7, users: 4 });
}, 120_000);

test("usage survives a restart of the edge with its store", async () => {
  const edge = await startEdge();
  const client = "OCT_CODE_Visual_Studio_Code@0.3.8";
  const ada = person({ baseUrl: edge.httpUrl, name: "Ada", client });
  await ada.host();
  await ada.leave();
  const usage = async () => {
    const { stdout } = await runCommand(["usage", "--json"], { CT_DATA_DIR: edge.dataDir });
    return JSON.parse(stdout) as { users: number; rows: { ended: number; hosted: object }[] };
  };
  // Who is here now counts at once.
  const isWritten = async () => {
    const { rows, users } = await usage();
    return users === 1 && rows.some(({ ended }) => ended === 1);
  };
  await until("it is counted", isWritten, 20_000);
  await ada.close();
  await edge.stop();
  await edge.startAgain();
  const { rows } = await usage();
  expect(rows.find(({ ended }) => ended === 1)).toMatchObject({ hosted: { vscode: 1 } });
}, 90_000);
