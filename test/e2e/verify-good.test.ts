/**
 * `ct-edge verify` against a good edge, which is green, for as long as a long poll lasts; and, while that is waited for, against
 * whatever is no edge. Faults: verify.test.ts.
 */
import { createServer as createTcpServer, type Socket } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import type { VerifyAnswer } from "../../edge/verify/report.ts";
import { statusOf } from "../../edge/verify/report.ts";
import type { Cluster } from "../support/cluster.ts";
import { type CommandResult, runCommand } from "../support/command.ts";
import { startFaultyFront } from "../support/faulty-front.ts";
import { OPERATOR_TOKEN, startVerifiedCluster } from "../support/planted-faults.ts";
import { freePort } from "../support/ports.ts";
import { listen, serveHttp } from "../support/servers.ts";
import { until } from "../support/until.ts";
import { idsIn, leftInStore, verifyUrl } from "../support/verify.ts";

let cluster: Cluster;
/** They wait for 30 s, so they run beside the other tests. */
let longRuns: Promise<readonly CommandResult[]>;

beforeAll(async () => {
  cluster = await startVerifiedCluster();
  const ports = cluster.balancers.map(({ port }) => port);
  const fronts = await Promise.all(
    [{}, { idleMs: 30_000 }].map((faults) => startFaultyFront(ports, faults)),
  );
  const args = ["--json", "--redis", cluster.redisUrl, "--token", OPERATOR_TOKEN];
  longRuns = Promise.all(fronts.map((url) => runCommand(["verify", url, ...args], {}, 60_000)));
  return async () => {
    await longRuns;
  };
});

async function peerThat(listener: (socket: Socket) => void): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => {});
    listener(socket);
  });
  return `http://127.0.0.1:${await listen(server)}`;
}

describe.concurrent("what is no edge is named", () => {
  test.each([
    {
      what: "the default page of a web server",
      url: () =>
        serveHttp((_, res) =>
          res.writeHead(404, { server: "nginx/1.22.1" }).end("<title>404 Not Found</title>"),
        ),
      cause: 'another server responds (status 404, by nginx/1.22.1, page "404 Not Found")',
    },
    {
      what: "a captive portal",
      url: () =>
        serveHttp((_, res) =>
          res.writeHead(302, { location: "http://portal.example/login" }).end(),
        ),
      cause: "another server redirects to http://portal.example/login (status 302)",
    },
    {
      what: "a login wall",
      url: () => serveHttp((_, res) => res.writeHead(401).end("<title>Sign in</title>")),
      cause: 'something in front asks for a sign-in of its own (status 401, page "Sign in")',
    },
    {
      what: "a page that responds to everything",
      url: () => serveHttp((_, res) => res.end("<html><title>Welcome!</title>")),
      cause: 'another server responds (status 200, page "Welcome!")',
    },
    {
      what: "a front without an upstream",
      url: () => serveHttp((_, res) => res.writeHead(502).end()),
      cause: "what is in front does not reach the edge (status 502)",
    },
    {
      what: "a port where nothing listens",
      url: async () => `http://127.0.0.1:${await freePort()}`,
      cause: /^the connection was refused \(/,
    },
    {
      what: "a name without an address",
      url: async () => "http://no-such-host.invalid",
      cause: /^the host name has no address \(/,
    },
    {
      what: "TLS towards a port without it",
      url: async () => (await serveHttp((_, res) => res.end())).replace("http://", "https://"),
      cause: /^the TLS handshake failed \(/,
    },
    {
      what: "a peer that speaks no HTTP",
      url: () => peerThat((socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n")),
      cause: /^what listens there does not speak HTTP \(/,
    },
    {
      what: "a peer that closes the connection",
      url: () => peerThat((socket) => socket.once("data", () => socket.destroy())),
      cause: /^the connection was closed without a response \(/,
    },
    {
      what: "a peer that never responds",
      url: () => peerThat(() => {}),
      cause: /^no response in time \(/,
    },
    {
      what: "a response that never ends",
      url: () =>
        serveHttp((_, res) => {
          const more = (): void => {
            while (!res.destroyed && res.write("x".repeat(65_536)));
          };
          res.on("drain", more);
          more();
        }),
      cause: "another server responds (status 200)",
    },
  ])("verify names what is no edge: $what", async ({ url, cause }) => {
    const report = await verifyUrl({ url: await url(), watchMs: 30_000 });
    const finding = report.findings.find(({ id }) => id === "edge");
    expect(finding).toMatchObject({ state: "broken" });
    if (typeof cause === "string") expect(finding?.cause).toBe(cause);
    else expect(finding?.cause).toMatch(cause);
    expect(finding?.cure).not.toBe("");
    // Never counted as healthy.
    expect(report.findings.filter(({ state }) => state === "held")).toEqual(
      report.findings.filter(({ id, state }) => id === "certificate" && state === "held"),
    );
    expect(statusOf(report)).toBe(2);
    expect(report.tookMs).toBeLessThan(12_000);
  });
});

test("a server that imitates an edge is told apart, and cannot keep verify busy", async () => {
  const meta = '{"owner":"x","version":"0.3.1","transports":["socket.io"]}';
  const form = { type: "form", name: "unverified", endpoint: "//evil.example/api" };
  const open =
    '0{"sid":"0123456789abcdef\\u001b[2J","upgrades":[],"pingInterval":1,"pingTimeout":1}';
  const bodyOf = (url = ""): string => {
    if (url.startsWith("/api/meta")) return meta;
    if (url.startsWith("/socket.io/")) return open;
    if (!url.startsWith("/api/login/initial")) return "{}";
    return JSON.stringify({ pollToken: "../x", auth: { loginPageUrl: "", providers: [form] } });
  };
  const report = await verifyUrl({
    url: await serveHttp((req, res) => res.end(bodyOf(req.url))),
    token: OPERATOR_TOKEN,
  });
  expect(statusOf(report)).toBe(1);
  expect(report.findings.find(({ id }) => id === "polling")?.cause).toMatch(/from a cache/);
  expect(idsIn(report, "unknown")).toEqual(expect.arrayContaining(["session", "ring", "secret"]));
  expect(report.tookMs).toBeLessThan(15_000);
});

test("escape sequences of a server do not reach the terminal", async () => {
  const url = await serveHttp((_, res) =>
    res.writeHead(404).end("<title>\u001b]0;owned\u0007\u001b[2J\u202e</title>"),
  );
  const { stdout, stderr, status } = await runCommand(["verify", url]);
  expect(stdout).toContain("\\u001b]0;owned\\u0007\\u001b[2J\\u202e");
  expect((stdout + stderr).replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(status).toBe(2);
});

test("all promises of a good edge are held, and a cut after 30 s is named, in as long as a long poll", async () => {
  const [good, cut] = await longRuns;
  const answer = JSON.parse(good?.stdout ?? "") as VerifyAnswer;
  expect(answer.findings.filter(({ state }) => state !== "held")).toEqual([]);
  expect(answer).toMatchObject({ broken: 0, unknown: 0, interrupted: false, leftBehind: 0 });
  expect(answer.tookMs).toBeLessThan(32_000);
  expect(good?.status).toBe(0);

  const { findings, leftBehind } = JSON.parse(cut?.stdout ?? "") as VerifyAnswer;
  expect(leftBehind).toBe(0);
  expect(findings.filter(({ state }) => state === "broken")).toMatchObject([
    { id: "idle", cause: expect.stringMatching(/^a long poll was cut after 30\.\d s/) },
  ]);
  expect(cut?.status).toBe(1);
  await until("nothing is left in the store", async () => {
    const left = await leftInStore(cluster);
    if (left.length > 0) throw new Error(left.join(", "));
    return true;
  });
}, 60_000);
