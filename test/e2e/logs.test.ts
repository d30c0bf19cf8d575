/**
 * What operators read of the logs of real processes: counts by `grep`, the page's tail and downloads on one machine and of
 * many, and that hostile lines do no harm.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogLines } from "../../worker/dashboard/responses.ts";
import { CLUSTER_SECRET, type Cluster, type Member, startCluster } from "../support/cluster.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { playMainJob } from "../support/main-job.ts";
import { pluginZip, put, putRepository, vsix } from "../support/plugins.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const agent = new Agent();
afterAll(() => agent.destroy());

function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

async function get(url: string, headers: Record<string, string> = {}, method = "GET" as const) {
  const answer = await request(url, { method, headers, dispatcher: agent });
  const bytes = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: answer.headers, text: bytes.toString(), bytes };
}

/** The page's feed of one log: its lines, as they come. */
async function openTail(url: string, log: string, headers: Record<string, string>) {
  const controller = new AbortController();
  const answer = await request(`${url}/dashboard/api/events?log=${log}`, {
    headers,
    dispatcher: agent,
    signal: controller.signal,
  });
  expect(answer.statusCode).toBe(200);
  const lines: string[] = [];
  let text = "";
  answer.body.on("error", () => {});
  answer.body.on("data", (bytes: Buffer) => {
    text += bytes.toString();
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const [, data] = /^event: log\ndata: (.*)$/.exec(event) ?? [];
      if (data !== undefined) lines.push(...(JSON.parse(data) as LogLines).lines);
    }
  });
  return { lines, close: () => controller.abort() };
}

describe("on one machine", () => {
  const operator = basic("ops", "a password of operators");
  let edge: EdgeProcess;
  let dataDir: string;
  let folder: string;

  beforeAll(async () => {
    dataDir = tempFolder();
    folder = join(dataDir, "logs");
    put(dataDir, "clients/vscode/codetogether-onpremises-1.vsix", await vsix());
    put(dataDir, "clients/intellij/codetogether-onpremises-1.zip", await pluginZip());
    await putRepository(join(dataDir, "clients/eclipse"));
    edge = await startEdge({
      dataDir,
      env: {
        CT_LOG_MAX_BYTES: "65536",
        CT_LOG_MAX_FILES: "8",
        CT_WORKER_COUNT: "1",
        CT_DASHBOARD_USER: "ops",
        CT_DASHBOARD_PASSWORD: "a password of operators",
      },
    });
  });

  /** What the notes' commands print, run as they stand in the folder of the logs. */
  function counted(files: string): number[] {
    const patterns = [
      "GET /clients/eclipse/plugins/com.genuitec.eclipse.codetogether.core_",
      "GET /clients/intellij/codetogether-onpremises-",
      "GET /clients/vscode/codetogether-onpremises-",
    ];
    return patterns.map((pattern) => {
      const command = `grep "${pattern}" ${files} | wc -l`;
      return Number(execFileSync("sh", ["-c", command], { cwd: folder, encoding: "utf8" }));
    });
  }

  const rotated = (): string[] =>
    readdirSync(folder).filter((name) => name.startsWith("access.log."));

  test("the notes' three commands count each GET once, whatever came of it, and go on over rotations", async () => {
    const paths = [
      "/clients/eclipse/plugins/com.genuitec.eclipse.codetogether.core_1.0.0.jar",
      "/clients/intellij/codetogether-onpremises-1.zip",
      "/clients/vscode/codetogether-onpremises-1.vsix",
    ];
    const asked = [0, 0, 0];
    async function ask(at: number, headers: Record<string, string> = {}): Promise<string> {
      asked[at] = (asked[at] ?? 0) + 1;
      return String((await get(edge.httpUrl + paths[at], headers)).headers["etag"] ?? "");
    }
    await until("the files are offered", async () => {
      const url = `${edge.httpUrl}${paths[2]}`;
      return (await get(url, {}, "HEAD" as "GET")).status === 200;
    });
    for (let i = 0; i < 7; i++) await ask(0);
    for (let i = 0; i < 5; i++) await ask(1);
    const etag = await ask(2);
    // Not changed since, and the first bytes from a link: a line each. HEAD and other paths: none.
    await ask(2, { "if-none-match": etag });
    await ask(2, { range: "bytes=0-9", referer: `http://h${paths[1]}` });
    await get(edge.httpUrl + paths[2], {}, "HEAD" as "GET");
    await get(`${edge.httpUrl}/clients`);
    await get(`${edge.httpUrl}/clients/vscode/codetogether-1.vsix`);
    await until("all lines are written", () => counted("access.log")[2] === asked[2]);
    expect(counted("access.log")).toEqual(asked);

    const tail = await openTail(edge.httpUrl, "access", operator);
    await until("the tail begins", () => tail.lines.length > 0);
    // Many lines of other clients, until the file has been rotated twice.
    const long = { "user-agent": "x".repeat(1000) };
    for (let round = 0; rotated().length < 2; round++) {
      if (round > 300) throw new Error(`not rotated: ${readdirSync(folder).join(", ")}`);
      await Promise.all(Array.from({ length: 10 }, () => get(`${edge.httpUrl}/api/meta`, long)));
    }
    await ask(1, { "user-agent": "the last one" });
    await until("it is in the tail", () => tail.lines.at(-1)?.includes("the last one"));
    tail.close();
    // The file alone has what came since; with the older ones it is all.
    await until("the last line is written", () => (counted("access.log")[1] ?? 0) > 0);
    expect(counted("access.log")).toEqual([0, 1, 0]);
    expect(counted("access.log*")).toEqual(asked);
  });

  test("hostile bytes of clients become one harmless line, in the file, in the view and in the tail", async () => {
    const tail = await openTail(edge.httpUrl, "access", operator);
    const socket = connect(edge.httpPort, "127.0.0.1");
    const answered = new Promise((resolve) => socket.once("data", resolve));
    socket.write(
      Buffer.from(
        "GET /<script>alert(1)</script> HTTP/1.1\r\nHost: h\r\nUser-Agent: \xff\xfe<b>\x9b31m\r\nReferer: http://h/?token=geheim\r\nConnection: close\r\n\r\n",
        "latin1",
      ),
    );
    await answered;
    socket.destroy();
    const line =
      /"GET \/<script>alert\(1\)<\/script> HTTP\/1\.1" \d+ \d+ "http:\/\/h\/\?token=\*" "\\xFF\\xFE<b>\\x9B31m"$/m;
    await until("it is in the tail", () => tail.lines.some((one) => line.test(one)));
    tail.close();
    const view = await get(`${edge.httpUrl}/logs/access.log?view`, operator);
    expect(view.text).toMatch(line);
    expect(view.headers).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "x-content-type-options": "nosniff",
    });
  });

  test("a file with markup, control bytes, broken UTF-8 and a line of a megabyte is shown, and the tail goes on", async () => {
    const path = join(folder, "server.log");
    const tail = await openTail(edge.httpUrl, "server", operator);
    await until("the tail begins", () => tail.lines.length > 0);
    appendFileSync(
      path,
      Buffer.concat([
        Buffer.from("<img src=x onerror=alert(1)>\n\x1b]0;title\x07\x1b[2J\x00\r\n"),
        Buffer.from([0xff, 0xc3, 0x28, 0xed, 0xa0, 0x80, 0x0a]),
        Buffer.from("\u202egnp.exe\n"),
      ]),
    );
    await until("it is shown", () => tail.lines.includes("\\u202egnp.exe"));
    appendFileSync(path, `${"x".repeat(1_200_000)}\n${"y".repeat(500_000)}\nand on\n`);
    await until("the tail goes on", () => tail.lines.includes("and on"));
    tail.close();
    const view = await get(`${edge.httpUrl}/logs/server.log?view`, operator);
    for (const text of [tail.lines.join("\n"), view.text]) {
      expect(/(?!\n)[\p{Cc}\u202e]/u.test(text)).toBe(false);
      expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(4097);
    }
    expect(tail.lines).toContain("<img src=x onerror=alert(1)>");
    // What is downloaded is the file.
    const file = await get(`${edge.httpUrl}/dashboard/api/logs/server`, operator);
    expect(file.headers["content-disposition"]).toBe('attachment; filename="server.log"');
    expect(file.bytes.equals(readFileSync(path).subarray(0, file.bytes.length))).toBe(true);
    expect((await get(`${edge.httpUrl}/logs/..%2fsecret`, operator)).status).toBe(404);
  });
});

describe("of many machines", () => {
  let cluster: Cluster;
  let first: Member;
  let second: Member;
  let password: string;
  let operator: Record<string, string>;

  beforeAll(async () => {
    cluster = await startCluster({ workers: 1, balancers: 2 });
    [first, second] = cluster.balancers as [Member, Member];
    const output = cluster.workers[0]?.output() ?? "";
    [, password = ""] = /ctuser and its password (\S+) /.exec(output) ?? [];
    operator = basic("ctuser", password);
  });

  const view = async (log: string): Promise<string> =>
    (await get(`${first.url}/logs/${log}.log?view`, operator)).text;

  test("the tail shows the requests of every balancer, and by which one each came", async () => {
    const tail = await openTail(first.url, "access", operator);
    await get(`${first.url}/one`);
    await get(`${second.url}/two`);
    const sourceOf = (path: string): string | undefined =>
      tail.lines
        .map((line) => /^(balancer-\w+) \| .*"GET (\S+) /.exec(line))
        .find((found) => found?.[2] === path)?.[1];
    await until("both are there", () => sourceOf("/one") && sourceOf("/two"));
    expect(sourceOf("/one")).not.toBe(sourceOf("/two"));
    tail.close();
  });

  test("failed requests and what the processes say are in the tail too", async () => {
    await get(`${second.url}/x`, { "x-long": "x".repeat(100_000) }).catch(() => {});
    await until("it is in error.log", async () =>
      /^balancer-\w+ \| .*\[info\]/m.test(await view("error")),
    );
    const server = await view("server");
    for (const source of ["worker-1", "balancer-\\w+"]) {
      expect(server).toMatch(new RegExp(`^${source} \\| \\S+ \\S+ INFO listening`, "m"));
    }
  });

  test("nothing that gives access gets into the store by way of a log", async () => {
    const { sessionId } = await playMainJob({
      host: { baseUrl: first.url },
      guests: { baseUrl: second.url },
      guestCount: 1,
    });
    const links = [
      `/join/${sessionId}`,
      `//base//join/${sessionId}/`,
      `/k/${sessionId}/join/${sessionId}`,
      `/?room=${sessionId}`,
    ];
    for (const link of links) {
      await get(second.url + link, { referer: second.url + link });
      // A failed request is in error.log too.
      await get(second.url + link, { "x-long": "x".repeat(100_000) }).catch(() => {});
    }
    await until("its requests are there", async () => {
      const [access, error] = [await view("access"), await view("error")];
      return access.includes("/api/session/join/") && /\/\?room=.*\/\?room=/s.test(access + error);
    });
    const admin = cluster.redis.admin();
    const streams = (await admin.keys("*")).filter((key) => key.includes("stream:log-"));
    expect(streams).toHaveLength(3);
    const texts = await Promise.all(streams.map((key) => admin.xrange(key, "-", "+")));
    const all = JSON.stringify(texts);
    expect(password.length).toBeGreaterThan(16);
    for (const secret of [password, sessionId, CLUSTER_SECRET, "eyJ"]) {
      expect(all.includes(secret)).toBe(false);
    }
  });
});
