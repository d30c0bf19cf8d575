/** A policy over two workers, with unmodified clients who sign in at a real identity provider, by name, and with an API key. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readViews } from "../../shared/cluster/read.ts";
import { hasChromium, launchChromium, openLooker } from "../support/browser.ts";
import { runCommand } from "../support/command.ts";
import {
  account,
  type IdentityCluster,
  startIdentityCluster,
} from "../support/identity-cluster.ts";
import { person } from "../support/people.ts";
import { openStore } from "../support/redis.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { WebPerson } from "../support/web-client.ts";

const ADA = { ...account("1", "Ada Lovelace"), groups: ["staff"] };
const GRACE = { ...account("2", "Grace Hopper"), groups: ["contractors"] };
const MALLORY = { ...account("3", "Mallory"), email_verified: false, groups: ["staff"] };

const HEAD = "version: 1\notherwise: { host: deny, join: deny }\nrules:\n";
const STAFF = `${HEAD}
  - { name: staff host, who: { groups: [staff], domains: [example.com] }, host: allow }
  - { name: no contractors, who: { groups: [contractors] }, join: deny, reason: "Contractors join from the office." }
  - { name: staff join, who: { domains: [example.com] }, join: allow }
`;

let folder: string;
let file: string;
let { front, cluster, provider, clientOf } = {} as IdentityCluster;

beforeAll(() => {
  folder = tempFolder();
});

beforeEach(async () => {
  file = join(folder, `policy-${performance.now()}.yaml`);
  writeFileSync(file, STAFF);
  ({ front, cluster, provider, clientOf } = await startIdentityCluster(ADA, {
    CT_POLICY: file,
    CT_LOGIN_API_KEY: "ci:the-key-of-ci-the-key-of-ci",
    CT_OIDC_RECHECK_MS: "1000",
    CT_DASHBOARD_USER: "ops",
    CT_DASHBOARD_PASSWORD: "operator",
  }));
});

/** Writes another policy; resolves when both workers have it, with the time that it took, in ms. */
async function change(text: string): Promise<number> {
  const before = await policies();
  const startMs = performance.now();
  writeFileSync(file, text);
  await until("both workers have another policy", async () =>
    (await policies()).every((policy, index) => policy !== before[index]),
  );
  return performance.now() - startMs;
}

/** What the workers have in force, as their logs say. */
async function policies(): Promise<(string | undefined)[]> {
  return cluster.workers.map((worker) =>
    [...worker.output().matchAll(/this policy is in force now.*?policy[="': ]+([0-9a-f]{12})/g)]
      .at(-1)
      ?.at(1),
  );
}

describe("unmodified clients", () => {
  test("unmodified clients host and join as the rules say, and are told why not", async () => {
    const host = clientOf(ADA);
    const sessionId = await host.host();
    await expect(clientOf(GRACE).host()).rejects.toThrow(
      "You may not host sessions on this server. Contact your administrator.",
    );
    await expect(clientOf(GRACE).join(sessionId)).rejects.toThrow(
      "Contractors join from the office.",
    );
    await expect(clientOf(MALLORY).join(sessionId)).rejects.toThrow(
      "You may not join this session, because you have no verified email address.",
    );
    const named = person({ baseUrl: front.url, name: "Somebody" });
    await expect(named.join(sessionId)).rejects.toThrow(
      "no identity provider has sent your groups",
    );
    expect(host.joinRequests).toEqual([]);
  });

  test("an edit of the policy is in force on both workers within two seconds, and one with mistakes changes nothing", async () => {
    const sessionId = await clientOf(ADA).host();
    const grace = clientOf(GRACE);
    await expect(grace.join(sessionId)).rejects.toThrow("Contractors join from the office.");
    const open = `${HEAD}  - { name: everybody, host: allow, join: allow }\n`;
    expect(await change(open)).toBeLessThan(2000);
    const guest = clientOf(GRACE);
    await guest.join(sessionId);

    writeFileSync(file, `${HEAD}  - { name: everybody, host: perhaps }\n`);
    await until("both workers say what is wrong", () =>
      cluster.workers.every((worker) => worker.output().includes("rule 1, host: ")),
    );
    const other = clientOf(GRACE);
    await other.join(sessionId);
    const { store } = openStore(cluster.redis.url);
    await until("the status reports tell", async () => {
      const { members } = await store.members();
      const views = await readViews(store, members);
      const workers = views.flatMap(({ view }) => (view.role === "worker" ? [view] : []));
      return (
        workers.length === 2 && workers.every(({ policy }) => policy?.problem?.includes("line 4"))
      );
    });
  });

  test("a long policy file is read beside the work, and its mistakes are named with their lines too", async () => {
    const rules = Array.from(
      { length: 3000 },
      (_, at) => `  - { name: "${at}", who: { users: [u${at}@example.com] }, host: deny }`,
    );
    const long = `${HEAD}${rules.join("\n")}\n`;
    writeFileSync(file, `${long}  - { name: last, host: perhaps }\n`);
    await until("both workers say what is wrong", () =>
      cluster.workers.every((worker) => worker.output().includes("line 3004: rule 3001, host: ")),
    );
    await change(`${long}  - { name: last, host: allow, join: allow }\n`);
    await clientOf(GRACE).host();
  });

  test("somebody whose groups change at the provider is judged by the new ones", async () => {
    const grace = clientOf(GRACE);
    const sessionId = await clientOf(ADA).host();
    await expect(grace.join(sessionId)).rejects.toThrow("Contractors join from the office.");
    provider.accounts.set(GRACE.sub, { ...GRACE, groups: ["staff"] });
    await until("the recheck has told", async () =>
      grace.join(sessionId).then(
        () => true,
        () => false,
      ),
    );
  });

  test("people whom the policy welcomes come in unasked once the host has let somebody in; those who sign in by name do not", async () => {
    await change(`${HEAD}  - { name: everybody, host: allow, join: without-asking }\n`);
    const host = clientOf(ADA);
    const sessionId = await host.host();
    await clientOf(GRACE).join(sessionId);
    expect(host.joinRequests).toHaveLength(1);
    host.decide = () => "reject";
    await clientOf(MALLORY).join(sessionId);
    expect(host.joinRequests).toHaveLength(1);
    await until("the host is told", () =>
      host.notices.includes("Mallory joins without your approval: this server allows it."),
    );
    const named = person({ baseUrl: front.url, name: "Somebody" });
    await expect(named.join(sessionId)).rejects.toThrow(/rejected/);
    expect(host.joinRequests).toHaveLength(2);
  });

  test("a room token from before an edit, and an old client, do not open the session", async () => {
    await change(`${HEAD}  - { name: everybody, host: allow, join: allow }\n`);
    const sessionId = await clientOf(ADA).host();
    const grace = clientOf(GRACE);
    await grace.login();
    const { roomToken, host } = await grace.provider.joinRoom({ roomId: sessionId });
    await change(STAFF);
    grace.enter(roomToken, host).catch(() => {});
    await until("she is told", () => grace.notices.includes("Contractors join from the office."));
    await change(`${HEAD}
  - { name: everybody, host: allow, join: allow }
  - { name: new clients, clients: { ct-edge-test: "2.0" } }
`);
    const mallory = clientOf(MALLORY);
    mallory.join(sessionId).catch(() => {});
    await until("the client is told", () =>
      mallory.notices.some((notice) => notice.includes("asks for version 2.0 or newer")),
    );
  });

  test("the hint to read only leads through the balancer to the worker of the session", async () => {
    await change(
      `${HEAD}  - { name: all, host: allow, join: allow }\n  - { name: look, who: { groups: [contractors] }, readOnly: true }\n`,
    );
    for (const sessionId of [await clientOf(ADA).host(), await clientOf(ADA).host()]) {
      const grace = clientOf(GRACE);
      await grace.login();
      const { roomToken } = await grace.provider.joinRoom({ roomId: sessionId });
      const headers = { "x-oct-jwt": roomToken };
      const response = await fetch(`${front.url}/api/session/hints`, { headers });
      expect(await response.json()).toEqual({ readOnly: true });
    }
  });

  test("limits of the policy hold: people in a session, sessions of a person, and how long they last", async () => {
    await change(`${HEAD}
  - { name: everybody, host: allow, join: allow, guests: 1, sessions: 1 }
`);
    const host = clientOf(ADA);
    const sessionId = await host.host();
    const guest = clientOf(GRACE);
    await guest.join(sessionId);
    await expect(clientOf(MALLORY).join(sessionId)).rejects.toThrow("The session is full");
    await expect(clientOf(ADA).host()).rejects.toThrow("too many open sessions");
    await change(`${HEAD}
  - { name: everybody, host: allow, join: allow, longest: 1s }
`);
    await until("the session has ended", () => guest.closedCount === 1, 15_000);
    for (const { notices } of [host, guest]) {
      expect(notices).toContain(
        "This session has been open for as long as this server allows. Start a new one to go on.",
      );
    }
  });
});

test.runIf(hasChromium)("the browser shows the reason of a refusal", async () => {
  await change(`${HEAD}  - { name: nobody, host: deny, reason: "Hosting is off today." }\n`);
  const browser = await launchChromium();
  const web = await WebPerson.open(browser, "Somebody");
  await web.page.goto(front.url);
  await web.button("New scratch workspace").click();
  await web.signIn("Continue");
  await web.page.getByText("Hosting is off today.").waitFor();
});

test.runIf(hasChromium)(
  "the dashboard explains what the policy decides, and what it cannot answer",
  async () => {
    await change(
      `${STAFF}  - { name: visitors look, readOnly: true }\n  - { name: all, guests: 3 }\n`,
    );
    const sessionId = await clientOf(ADA).host();
    const browser = await launchChromium();
    const { page, complaints } = await openLooker(browser, {
      httpCredentials: { username: "ops", password: "operator" },
    });
    await page.goto(`${front.url}/dashboard/#policy`);
    await page.getByText(/rule 4 \(visitors look\): readOnly is a hint/).waitFor();
    const form = page.locator("#policy-form");
    const check = async (user: string, room: string) => {
      await form.getByLabel("Person").fill(user);
      await form.getByLabel("Session").fill(room);
      await form.getByRole("button").click();
    };
    await check("apikey:ci", sessionId.slice(0, 8));
    await page
      .getByText('denied by "otherwise": You may not host sessions on this server.')
      .waitFor();
    await page.getByText('in the browser page, by rule "visitors look"').waitFor();
    await page.getByText('3, by rule "all"').waitFor();
    expect(complaints).toEqual([]);
    await check("nobody", "");
    await page.getByText("nobody called nobody is signed in at an identity provider").waitFor();
  },
);

// --- at the start ---

test("a worker does not start with a policy that has mistakes, unless it had a good one", async () => {
  const bad = join(folder, "bad.yaml");
  writeFileSync(bad, "version: 1\nrules: []\n");
  const fresh = cluster.launch("worker", { env: { CT_POLICY: bad, CT_WORKER_ID: "third" } });
  expect(await fresh.ended()).not.toBe(0);
  expect(fresh.output()).toMatch(
    /CT_POLICY=".*bad\.yaml" has mistakes: line 2: rules: there are no rules/,
  );

  const dataDir = mkdtempSync(join(folder, "data-"));
  const env = { CT_POLICY: file, CT_WORKER_ID: "fourth", CT_DATA_DIR: dataDir };
  const first = cluster.launch("worker", { env });
  await first.ready();
  first.child.kill("SIGKILL");
  await first.ended();
  writeFileSync(file, "rules:");
  const second = cluster.launch("worker", { env });
  await second.ready();
  expect(second.output()).toContain("the last good policy stays in force");
});

// --- ct-edge policy check ---

test("policy check explains what it decides about a person, and by which rule", async () => {
  const sessionId = await clientOf(ADA).host();
  await clientOf(GRACE).login();
  const args = ["--policy", file, "--redis", cluster.redisUrl];
  const grace = await runCommand([
    "policy",
    "check",
    "2@example.com",
    sessionId.slice(0, 6),
    ...args,
  ]);
  expect(grace.stdout.split("\n")).toEqual([
    expect.stringMatching(/^policy [0-9a-f]{12}: 3 rules, in order$/),
    "person: 2@example.com; groups contractors",
    'host: denied by "otherwise": You may not host sessions on this server. Contact your administrator.',
    'join a session of Ada Lovelace: denied by rule "no contractors": Contractors join from the office.',
    "limits: none",
    "",
  ]);
  expect(grace.status).toBe(0);
  const dashboard = await fetch(
    `${front.url}/dashboard/api/policy/check?user=2@example.com&room=${sessionId.slice(0, 8)}`,
    { headers: { authorization: `Basic ${Buffer.from("ops:operator").toString("base64")}` } },
  );
  const { text } = (await dashboard.json()) as { text: string[] };
  expect(text).toEqual(grace.stdout.trimEnd().split("\n"));
  const schema = await runCommand(["policy", "schema"]);
  expect(JSON.parse(schema.stdout)).toMatchObject({
    title: "CodeTogether edge: policy (CT_POLICY)",
  });
  const json = await runCommand(["policy", "check", "1@example.com", "--json", ...args]);
  expect(JSON.parse(json.stdout)).toMatchObject({
    person: { email: "1@example.com", groups: ["staff"], isVerified: true },
    host: { outcome: "allowed", rule: "staff host", isAsked: true },
  });
  const bot = await runCommand(["policy", "check", "apikey:ci", "--offline", "--policy", file]);
  expect(bot.stdout).toContain("person: API key ci; groups not known");
  const nobody = await runCommand(["policy", "check", "nobody", ...args]);
  expect(nobody.stderr).toContain("nobody called nobody is signed in at an identity provider");
  expect(nobody.status).toBe(1);
});

test("policy check names the mistakes of a file", async () => {
  const bad = join(folder, "mistakes.yaml");
  writeFileSync(bad, `${HEAD}  - { name: a, host: perhaps }\n  - { name: b, idle: soon }\n`);
  const { stderr, stdout, status } = await runCommand(["policy", "check", "--policy", bad]);
  expect(stderr).toContain("line 4: rule 1, host: ");
  expect(stderr).toContain('line 5: rule 2, idle: "soon" is not a time like 90s, 30m, 8h or 2d');
  expect(stdout).toBe("");
  expect(status).toBe(1);
  const none = await runCommand(["policy", "check"]);
  expect(none.stderr).toContain("there is no policy: everyone who has signed in may host");
});
