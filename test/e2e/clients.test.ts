/**
 * IDE plugins through the balancer: an operator adds files, IDEs install them, downloads are counted for the whole edge and
 * survive a restart.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ClientsAnswer } from "../../edge/commands/machine/clients.ts";
import { runCommand } from "../support/command.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { pluginZip, put, putRepository, vsix } from "../support/plugins.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

let edge: EdgeProcess;
let dataDir: string;
const agent = new Agent({ connect: { rejectUnauthorized: false } });

beforeAll(async () => {
  dataDir = tempFolder();
  edge = await startEdge({ dataDir });
});
afterAll(async () => {
  await agent.destroy();
});

async function get(path: string, headers: Record<string, string> = {}) {
  const answer = await request(edge.httpUrl + path, { headers, dispatcher: agent });
  const body = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: answer.headers, body, text: body.toString() };
}

const serverLog = () => readFileSync(join(dataDir, "logs/server.log"), "utf8");

function authorization(): Record<string, string> {
  const [, password = ""] = /ctuser and its password (\S+) /.exec(serverLog()) ?? [];
  return { authorization: `Basic ${Buffer.from(`ctuser:${password}`).toString("base64")}` };
}

test("files in the folder are offered by every worker, and each download is counted once", async () => {
  expect((await get("/clients")).text).toContain("No plugins yet");
  const extension = await vsix({ entries: { "extension/big": Buffer.alloc(3_000_000, "x") } });
  put(dataDir, "clients/vscode/codetogether-onpremises-1.vsix", extension);
  put(dataDir, "clients/intellij/codetogether-onpremises-1.zip", await pluginZip());
  await putRepository(join(dataDir, "clients/eclipse"));
  const bundle = "/clients/eclipse/plugins/com.acme.collab.core_1.2.3.v2030.jar";
  const paths = [
    "/clients/vscode/codetogether-onpremises-1.vsix",
    "/clients/intellij/codetogether-onpremises-1.zip",
    bundle,
  ];
  // Requests without a key go to any worker.
  for (const { port } of edge.readFile().workers) {
    for (const path of paths) {
      await until(`${path} at ${port}`, async () => {
        const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`, {
          method: "HEAD",
          dispatcher: agent,
        });
        await body.dump();
        return statusCode === 200;
      });
    }
  }
  for (let i = 0; i < 5; i++) {
    for (const path of paths) expect((await get(path)).status).toBe(200);
  }
  const whole = await get(paths[0] ?? "");
  expect(whole.body.equals(extension)).toBe(true);
  const { text } = await get("/clients/intellij/updatePlugins.xml?build=IU-242.1");
  expect(text).toContain(`url="${edge.httpUrl}/clients/intellij/codetogether-onpremises-1.zip"`);

  const wanted = [
    "com.acme.collab.core,1.2.3.v2030,5",
    "com.acme.collab,1.0,5",
    "acme.collab,1.0.0,6",
  ];
  const counted = async () => (await get("/clients/downloads.csv", authorization())).text;
  await until("all is counted", async () => {
    const csv = await counted();
    return wanted.every((part) => csv.includes(part));
  });

  expect((await edge.stop()).status).toBe(0);
  edge = await edge.startAgain();
  const csv = await until("the count is there again", async () => {
    const { status, text } = await get("/clients/downloads.csv", authorization());
    return status === 200 && text;
  });
  for (const part of wanted) expect(csv).toContain(part);
  // The password is generated once, for all workers and runs.
  expect(serverLog().match(/ctuser and its password/g)).toHaveLength(1);
});

// --- the page at / ---

test.each([
  [
    "GET",
    "GET / HTTP/1.1\r\nHost: 10.0.0.9\r\nUser-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n",
  ],
  ["HEAD", "HEAD / HTTP/1.1\r\nHost: 10.0.0.9\r\nConnection: close\r\n\r\n"],
  ["OPTIONS", "OPTIONS / HTTP/1.1\r\nHost: 10.0.0.9\r\nConnection: close\r\n\r\n"],
  ["GET of HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"],
  ["HEAD of HTTP/1.0 without Host", "HEAD / HTTP/1.0\r\n\r\n"],
  ["OPTIONS of HTTP/1.0 without Host", "OPTIONS / HTTP/1.0\r\n\r\n"],
])("a health check of / by %s gets 200", async (_name, head) => {
  expect(await exchange(head)).toMatch(/^HTTP\/1\.1 200 /);
});

test("the page at / is served below a key in the path, in every spelling", async () => {
  for (const path of ["/", "//", "/k/team-blue", "/k/team-blue/", "//k//team-blue//"]) {
    expect([path, (await get(path)).text]).toEqual([path, expect.stringContaining("<h1>")]);
  }
});

test.each(["", "/k/team-blue"])(
  "Theia's preflight of //api/login/simple is answered below %j",
  async (basePath) => {
    const answer = await exchange(
      `OPTIONS ${basePath}//api/login/simple HTTP/1.1\r\nHost: a\r\nOrigin: https://theia.example\r\n` +
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\nConnection: close\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/\r\naccess-control-allow-origin: \*\r\n/i);
    expect(answer).toMatch(/\r\naccess-control-allow-headers: [^\r]*content-type/i);
  },
);

test("the dashboard requires credentials for every spelling of a path with a key", async () => {
  for (const path of [
    "//dashboard/",
    "/k/KEY/dashboard/api/echo",
    "/k//KEY//dashboard//api/echo",
  ]) {
    expect([path, (await get(path)).status]).toEqual([path, 401]);
    expect([path, (await get(path, authorization())).status]).toEqual([path, 200]);
  }
});

async function exchange(head: string): Promise<string> {
  const socket = connect(edge.httpPort, "127.0.0.1", () => socket.write(head));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}

test("a broken file of the plugins is reported once in server.log, and by the command", {
  timeout: 60_000,
}, async () => {
  put(dataDir, "clients/vscode/broken.vsix", "nothing of use");
  const reports = () => serverLog().match(/file=vscode\/broken\.vsix/g) ?? [];
  await until("the file is reported", () => reports().length > 0, 20_000);
  // Long enough for the other worker to scan the folder as well.
  put(dataDir, "clients/vscode/later.txt", "x");
  await until("the next one is named", () => serverLog().includes("file=vscode/later.txt"), 20_000);
  expect(reports()).toHaveLength(1);

  const run = (...args: string[]) => runCommand(args, { CT_DATA_DIR: dataDir });
  const check = await run("clients", "check");
  expect(check.status).toBe(1);
  expect(check.stdout).toMatch(/^vscode\/broken\.vsix: not a complete zip archive \(.+\)\n/);
  expect(check.stdout).toMatch(
    /\n3 offered, 2 not, in .*\/clients\n\nOpen Collaboration Tools is not /,
  );
  const list = await run("clients", "list");
  expect(list.status).toBe(0);
  expect(list.stdout).toMatch(
    /^IDE +ID +VERSION +FOR +BYTES +FILE\nvscode +acme\.collab +1\.0\.0 /,
  );
  const { stdout } = await run("clients", "list", "--json");
  const answer = JSON.parse(stdout) as ClientsAnswer;
  expect(answer.offered.map(({ ide, id }) => `${ide} ${id}`)).toEqual([
    "vscode acme.collab",
    "intellij com.acme.collab",
    "eclipse com.acme.collab",
  ]);
  expect(answer.skipped.map(({ file }) => file)).toEqual([
    "vscode/broken.vsix",
    "vscode/later.txt",
  ]);
  const empty = await run("clients", "list", "--clients-dir", join(dataDir, "nothing"));
  expect(empty.stdout).toMatch(/^Nothing is offered\./);
});
