/**
 * `ct-edge verify` against a real edge with faults: each is named, and an interrupted run leaves nothing behind. Faults of fronts
 * are planted in a small proxy. A good edge, and what is no edge: verify-good.test.ts.
 */
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import type { VerifyAnswer } from "../../edge/verify/report.ts";
import { statusOf } from "../../edge/verify/report.ts";
import { sessionIds } from "../../shared/cluster/read.ts";
import type { BalancerView } from "../../shared/cluster/status-reports.ts";
import { bundledModules, loadedModules } from "../support/bundle.ts";
import { makeCertificate } from "../support/certificates.ts";
import { type Cluster, sees } from "../support/cluster.ts";
import { type CommandResult, runCommand, startCommand } from "../support/command.ts";
import { createApi, isSignedIn } from "../support/counted/api.ts";
import { type FrontFaults, startFaultyFront } from "../support/faulty-front.ts";
import {
  INSIDE_FAULTS,
  type InsideFault,
  OPERATOR_TOKEN,
  plant,
  startVerifiedCluster,
  viewsOf,
} from "../support/planted-faults.ts";
import { openStore, startRedis } from "../support/redis.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { idsIn, leftInStore, verifyUrl } from "../support/verify.ts";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startVerifiedCluster();
});

function frontWith(faults: FrontFaults): Promise<string> {
  const ports = cluster.balancers.map(({ port }) => port);
  return startFaultyFront(ports, faults);
}

const inside = () => ({ redisUrl: cluster.redisUrl, token: OPERATOR_TOKEN });

// --- what the program contains ---

test("the program does not load the protocol's package and undici at its start, and their licenses are included", () => {
  const packages = ["open-collaboration-protocol", "undici", "socket.io-client"];
  const of = (name: string, modules: readonly string[]): string[] =>
    modules.filter((module) => module.includes(`/${name}/`));
  const loaded = loadedModules("dist/edge/main.js");
  expect(of("commander", loaded)).not.toEqual([]);
  for (const name of packages) {
    expect(of(name, loaded)).toEqual([]);
    expect(of(name, bundledModules()), name).not.toEqual([]);
  }
  const licenses = readFileSync(new URL("../../dist/licenses.txt", import.meta.url), "utf8");
  for (const name of packages) expect(licenses).toMatch(new RegExp(`^${name} \\d`, "m"));
});

// --- faults of the front ---

const FRONT_FAULTS: readonly {
  readonly fault: string;
  readonly front: FrontFaults;
  readonly broken: readonly string[];
  readonly cure: RegExp;
}[] = [
  {
    fault: "a front without upgrade",
    front: { noUpgrade: true },
    broken: ["websocket"],
    cure: /proxy_http_version 1\.1/,
  },
  {
    fault: "a sticky cookie of the front",
    front: { setCookie: "SERVERID=one; path=/" },
    broken: ["front-cookie"],
    cure: /turn its stickiness off/,
  },
  {
    fault: "a front that strips cookies",
    front: { strips: ["cookie"] },
    broken: ["sticky-cookie"],
    cure: /pass the header Cookie on/,
  },
  {
    fault: "a front that buffers",
    front: { buffers: true },
    broken: ["request-buffering", "response-buffering"],
    cure: /proxy_request_buffering off/,
  },
  {
    fault: "a front that limits bodies",
    front: { maxBodyBytes: 1024 * 1024 },
    broken: ["body-limit"],
    cure: /client_max_body_size 20m/,
  },
  {
    fault: "a front that strips the header ctstickiness",
    front: { strips: ["ctstickiness"] },
    broken: ["sticky-header"],
    cure: /pass the header ctstickiness on/,
  },
];

test.each(FRONT_FAULTS)("$fault is named, with the cure", async ({ front, broken, cure }) => {
  const report = await verifyUrl({ ...inside(), url: await frontWith(front) });
  expect(idsIn(report, "broken")).toEqual(broken);
  expect(report.findings.find(({ id }) => id === broken[0])?.cure).toMatch(cure);
  expect(statusOf(report)).toBe(1);
});

test("an idle cut below the interval of pings is seen on the WebSocket too", async () => {
  const report = await verifyUrl({ url: await frontWith({ idleMs: 1000 }), watchMs: 2000 });
  expect(report.findings.find(({ id }) => id === "idle")).toMatchObject({
    state: "broken",
    cause: expect.stringMatching(/was cut after 1\.\d s/),
  });
});

test("a certificate that has expired is named, one that the operator trusts is held", async () => {
  const inDays = (days: number): Date => new Date(Date.now() + days * 86_400_000);
  const expired = await makeCertificate({ from: inDays(-10), until: inDays(-3) });
  const valid = await makeCertificate({ from: inDays(-1), until: inDays(299) });
  const [first, second] = await Promise.all(
    [expired, valid].map(async (tls) =>
      verifyUrl({ ...inside(), url: await frontWith({ tls }), ca: tls.cert }),
    ),
  );
  expect(first?.findings.find(({ id }) => id === "certificate")).toMatchObject({
    state: "broken",
    cause: "it expired 3 days ago",
    cure: expect.stringContaining("renew it"),
  });
  // One fault hides no other promise.
  expect(first && idsIn(first, "broken")).toEqual(["certificate"]);
  expect(second && idsIn(second, "broken")).toEqual([]);
});

// --- faults of the inside ---

test.each(Object.entries(INSIDE_FAULTS) as [InsideFault, string][])(
  "the fault %s of the inside is named as %s",
  async (fault, id) => {
    const url = await frontWith({});
    const remove = await plant(cluster, fault);
    try {
      const report = await verifyUrl({ ...inside(), url });
      expect(idsIn(report, "broken")).toEqual([id]);
      expect(report.findings.find((finding) => finding.id === id)?.cure).not.toBe("");
      // Once is enough: what the dashboard tells is tested apart. Its snapshots are up to 2 s old.
      if (fault === "two edges on one prefix") {
        await until("the dashboard's snapshots show it too", async () => {
          const outside = await verifyUrl({ url, token: OPERATOR_TOKEN });
          return idsIn(outside, "broken").join() === id;
        });
      }
    } finally {
      await remove();
    }
  },
);

test("a Redis of another edge is noticed, and nothing is concluded from it", async () => {
  const other = await startRedis({ port: true });
  const redisUrl = `redis://127.0.0.1:${other.port}`;
  const report = await verifyUrl({ url: await frontWith({}), redisUrl });
  expect(idsIn(report, "broken")).toEqual(["inside"]);
  expect(idsIn(report, "unknown")).toContain("ring");
});

test("a wrong CT_SERVER_URL is named", async () => {
  const strange = await startVerifiedCluster({ CT_SERVER_URL: "https://old.example.com" }, 1);
  const url = strange.balancers[0]?.url ?? "";
  const report = await verifyUrl({ url });
  expect(idsIn(report, "broken")).toContain("server-url");
  expect(report.findings.find(({ id }) => id === "server-url")).toMatchObject({
    cause: expect.stringMatching(/^CT_SERVER_URL is https:\/\/old\.example\.com/),
    cure: `set CT_SERVER_URL=${url} on balancers and workers, or verify https://old.example.com`,
  });
});

// --- what an operator gives ---

async function runVerify(
  args: readonly string[],
  killMs = 60_000,
): Promise<CommandResult & { readonly answer: VerifyAnswer }> {
  const result = await runCommand(["verify", ...args, "--json"], {}, killMs);
  return { ...result, answer: JSON.parse(result.stdout) as VerifyAnswer };
}

function findingOf({ findings }: VerifyAnswer, id: string) {
  return findings.find((finding) => finding.id === id);
}

test("an API key opens sessions where names are not accepted; without one that is unknown, not healthy", async () => {
  const env = { CT_LOGIN_SIMPLE: "off", CT_LOGIN_API_KEY: "verify:the-key-of-verify" };
  const keyed = await startVerifiedCluster(env, 1);
  const url = keyed.balancers[0]?.url ?? "";
  const [without, wrong, right] = await Promise.all([
    runVerify([url, "--quick", "--strict"]),
    runVerify([url, "--quick", "--api-key", "another-key"]),
    runVerify([url, "--quick", "--api-key", "the-key-of-verify"]),
  ]);
  expect(findingOf(without.answer, "sign-in")).toMatchObject({
    state: "unknown",
    cure: expect.stringContaining("--api-key"),
  });
  expect(findingOf(without.answer, "session")?.state).toBe("unknown");
  expect(without.status).toBe(2);
  expect(findingOf(wrong.answer, "sign-in")?.state).toBe("broken");
  expect(wrong.status).toBe(1);
  expect(findingOf(right.answer, "sign-in")?.state).toBe("held");
  expect(findingOf(right.answer, "session")?.state).toBe("held");
  // Much is unknown from outside, which alone is no failure.
  expect(right.answer.unknown).toBeGreaterThan(0);
  expect(right.status).toBe(0);
}, 60_000);

test("members of another version are named", async () => {
  const folder = tempFolder();
  const root = fileURLToPath(new URL("../../", import.meta.url));
  cpSync(`${root}dist`, `${folder}/dist`, { recursive: true });
  symlinkSync(`${root}node_modules`, `${folder}/node_modules`);
  const text = readFileSync(`${root}package.json`, "utf8");
  writeFileSync(`${folder}/package.json`, text.replace(/"version": ".*"/, '"version": "0.0.1"'));
  const older = cluster.launch("worker", { env: { CT_WORKER_ID: "older" }, folder });
  await older.ready();
  const report = await verifyUrl({ ...inside(), url: await frontWith({}) });
  older.child.kill("SIGTERM");
  await older.ended();
  expect(idsIn(report, "broken")).toEqual(["versions"]);
  expect(report.findings.find(({ id }) => id === "versions")).toMatchObject({
    cause: expect.stringMatching(/; 0\.0\.1: older$/),
    cure: expect.stringContaining("finish the upgrade"),
  });
}, 60_000);

// --- drain and kill ---

async function takesSessions(workerId: string): Promise<void> {
  const { store } = openStore(cluster.redis.url);
  await until(`${workerId} takes sessions`, async () => {
    const { members } = await store.members();
    return members.some(
      (one) => one.id === workerId && one.kind === "worker" && one.state === "up",
    );
  });
}

test("verify --drain watches a session while its worker is drained, and resumes the worker", async () => {
  const url = await frontWith({});
  const args = ["--quick", "--redis", cluster.redisUrl, "--drain", "worker-1"];
  const { answer, status } = await runVerify([url, ...args]);
  expect(findingOf(answer, "drain")).toMatchObject({
    state: "held",
    cause: expect.stringMatching(/moved to worker-2: no disconnect, \d+ messages/),
  });
  expect(status).toBe(0);
  await takesSessions("worker-1");
}, 60_000);

test("verify --drain with tokens of an operator and of a user, read from files, needs no store", async () => {
  const url = await frontWith({});
  const folder = tempFolder();
  const userToken = await createApi(url).signIn("Operator");
  writeFileSync(`${folder}/operator`, `${OPERATOR_TOKEN}\n`);
  writeFileSync(`${folder}/user`, `${userToken}\n`);
  const tokens = ["--token", `@${folder}/operator`, "--user-token", `@${folder}/user`];
  const { answer, status } = await runVerify([url, "--quick", ...tokens, "--drain", "worker-1"]);
  expect(findingOf(answer, "sign-in")).toMatchObject({ state: "held" });
  expect(findingOf(answer, "drain")).toMatchObject({
    state: "held",
    cause: expect.stringMatching(/moved to worker-2: no disconnect, \d+ messages/),
  });
  expect(answer).toMatchObject({ broken: 0, leftBehind: 0 });
  expect(status).toBe(0);
  await takesSessions("worker-1");
  // The token was not made here, so it stays valid.
  expect(await isSignedIn(url, userToken)).toBe(true);
}, 60_000);

test("verify --kill tells how to kill the worker, and watches its session go on at another one", async () => {
  const url = await frontWith({});
  const args = ["verify", url, "--json", "--redis", cluster.redisUrl, "--kill", "worker-2"];
  const { output, closed } = await startCommand(args);
  await until("it waits", () => output.stderr.includes("kill it now"));
  await cluster.workers.find(({ id }) => id === "worker-2")?.kill();
  const [status] = await closed;
  await cluster.addWorker({ env: { CT_WORKER_ID: "worker-2" } });
  cluster.workers.splice(1, 1);
  for (const balancer of cluster.balancers) await sees(balancer, 2);
  expect(output.stderr).toMatch(/docker kill worker-2/);
  const answer = JSON.parse(output.stdout) as VerifyAnswer;
  expect(findingOf(answer, "kill")).toMatchObject({
    state: "held",
    cause: expect.stringMatching(/^the session went on at worker-1 after \d+\.\d s/),
  });
  expect(answer).toMatchObject({ broken: 0, leftBehind: 0 });
  expect(status).toBe(0);
}, 60_000);

test("a worker that was replaced a moment ago is not called unreachable", async () => {
  await cluster.workers.find(({ id }) => id === "worker-2")?.kill();
  await until("a balancer reports that it does not reach the worker", async () => {
    const views = await viewsOf(cluster);
    return views.some(({ view }) => view.role === "balancer" && isAway(view.workers, "worker-2"));
  });
  await cluster.addWorker({ env: { CT_WORKER_ID: "worker-2" } });
  cluster.workers.splice(1, 1);
  expect(idsIn(await verifyUrl({ ...inside(), url: await frontWith({}) }), "broken")).toEqual([]);
});

const isAway = (workers: BalancerView["workers"], wanted: string): boolean =>
  workers.some(({ id, status }) => id === wanted && status !== "healthy");

test.each([
  { args: ["ftp://edge"], message: /is not the URL of an edge/ },
  { args: ["https://user:secret@edge"], message: /is not the URL of an edge/ },
  { args: ["http://127.0.0.1:1", "--ca", "/no/such/file"], message: /--ca \/no\/such\/file: / },
])("verify refuses the arguments $args with status 2", async ({ args, message }) => {
  const { stdout, stderr, status } = await runCommand(["verify", ...args]);
  expect(stderr).toMatch(message);
  expect(stdout).toBe("");
  expect(status).toBe(2);
});

// --- interrupted ---

test.each(["SIGINT", "SIGTERM"] as const)(
  "verify that gets %s in the middle leaves nothing behind",
  async (signal) => {
    const url = await frontWith({});
    // What a broken front above kept the edge from removing is not of this run.
    const before = new Set(await leftInStore(cluster));
    const args = ["verify", url, "--redis", cluster.redisUrl];
    const { child, output, closed } = await startCommand(args);
    const { store } = openStore(cluster.redis.url);
    await until("it has opened a session", async () =>
      (await sessionIds(store)).some((id) => !before.has(id)),
    );
    child.kill(signal);
    const [status] = await closed;
    expect(status).toBe(signal === "SIGINT" ? 130 : 143);
    expect(output.stderr).toContain("interrupted; closing what was opened");
    expect(output.stdout).toContain("! Interrupted: what was not seen is unknown.");
    expect(output.stdout).not.toContain("Not removed");
    // An interruption is no fault of the edge.
    expect(output.stdout).toContain("0 broken");
    await until("nothing of it is left", async () =>
      (await leftInStore(cluster)).every((one) => before.has(one)),
    );
  },
);
