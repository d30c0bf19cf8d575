/**
 * The dashboard in a real browser: access, live data and commands.
 */
import type { Browser } from "playwright-core";
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium, type Looker, launchChromium, openLooker } from "../support/browser.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import { watchMachine } from "../support/machine.ts";
import { everybodyHears, openSession } from "../support/people.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();

const USER = "operator";
const PASSWORD = "pä:sswort 🔑";

/** Records the delay of each line, by the clock of the machine that wrote its time. */
const NOTE_DELAYS = `
  var delays = [];
  new MutationObserver((changes) => {
    for (const line of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (!line.textContent.includes("operator command received")) continue;
      delays.push(Date.now() - Date.parse(/\\d{4}-\\d\\d-\\d\\dT\\S+Z/.exec(line.textContent)[0]));
    }
  }).observe(document.querySelector("#log-lines"), { childList: true });
`;

describe.runIf(hasChromium)("in a browser", () => {
  let cluster: Cluster;
  let browser: Browser;
  let looker: Looker;

  beforeAll(async () => {
    [cluster, browser] = await Promise.all([
      startCluster({
        workers: 2,
        balancers: 2,
        env: {
          CT_DASHBOARD_USER: USER,
          CT_DASHBOARD_PASSWORD: PASSWORD,
          CT_DRAIN_DELAY_MS: "0",
        },
      }),
      launchChromium(),
    ]);
    looker = await openLooker(browser, {
      httpCredentials: { username: USER, password: PASSWORD },
    });
  }, 120_000);

  const urlOf = (balancer: number): string => cluster.balancers[balancer]?.url ?? "";

  async function goTo(view: string): Promise<void> {
    await looker.page.goto(`${urlOf(0)}/dashboard/#${view}`);
    await looker.page.waitForSelector('#connection[data-state="live"]');
  }

  /** The texts of a table's cells, row by row. */
  function rows(table: string): Promise<string[][]> {
    return looker.page.$$eval(`#${table} tbody tr`, (found) =>
      found.map((row) => [...row.children].map((cell) => cell.textContent ?? "")),
    );
  }

  /** Clicks a button in the row of `name`. */
  function press(table: string, name: string, button: string): Promise<void> {
    const row = looker.page.locator(`#${table} tbody tr`, { hasText: name });
    return row.getByRole("button", { name: button, exact: true }).click();
  }

  test("the dashboard shows nothing with a wrong password, and the edge with the right one", async () => {
    const stranger = await openLooker(browser, {
      httpCredentials: { username: USER, password: "guess" },
    });
    const refused = await stranger.page.goto(`${urlOf(0)}/dashboard/`);
    expect(refused?.status()).toBe(401);
    expect(await stranger.page.textContent("body")).not.toContain("Overview");
    await stranger.context.close();

    await goTo("overview");
    expect(await looker.page.title()).toBe("CodeTogether edge");
    await expect.poll(() => looker.page.textContent("#summary")).toContain("Workers: 2 up.");
    expect(await looker.page.textContent("#summary")).toContain("Balancers: 2.");
    // One chart per series of the history.
    await expect.poll(() => looker.page.locator("#charts canvas").count()).toBe(6);
  });

  test("the dashboard shows a new session at once, drains its worker to another one, and ends it", async () => {
    await goTo("overview");
    const tile = looker.page.locator('[data-tile="sessionsActive"]');
    await expect.poll(() => tile.textContent()).toBe("0");
    const session = await openSession({ baseUrl: urlOf(0), guestCount: 1 });
    await expect.poll(() => tile.textContent(), { timeout: 15_000 }).toBe("1");

    await goTo("usage");
    const used = looker.page.locator('[data-usage="Sessions hosted"]');
    await expect.poll(() => used.textContent(), { timeout: 15_000 }).toBe("1");
    expect(await looker.page.textContent("#usage-shares")).toContain("Hosted withother1");

    await goTo("sessions");
    const id = session.sessionId.slice(0, 8);
    const rowOf = async () =>
      (await rows("session-table")).find(([first]) => first?.startsWith(id));
    await expect
      .poll(async () => (await rowOf())?.slice(3, 5).join(), { timeout: 15_000 })
      .toMatch(/^Host .*,Guest 1 /);
    const [, owner = ""] = (await rowOf()) ?? [];
    const successor = owner === "worker-1" ? "worker-2" : "worker-1";

    await goTo("workers");
    const workerOf = async (name: string) =>
      (await rows("worker-table")).find(([first]) => first === name);
    await expect.poll(async () => (await workerOf(owner))?.[4]).toBe("1");
    const linkOf = async (name: string) =>
      (await rows("link-table")).find(([first]) => first === name);
    await expect
      .poll(async () => (await linkOf(owner))?.[1], { timeout: 15_000 })
      .toBe(HAS_LINKS ? "open" : "off");
    await expect
      .poll(async () => Number((await linkOf(owner))?.[3]), { timeout: 15_000 })
      .toBeGreaterThanOrEqual(HAS_LINKS ? 2 : 0);
    await press("worker-table", owner, "drain");
    await expect
      .poll(async () => (await workerOf(owner))?.slice(1, 3), { timeout: 20_000 })
      .toEqual(["draining", "has handed its sessions over"]);
    await expect.poll(async () => (await workerOf(successor))?.[4], { timeout: 15_000 }).toBe("1");
    await everybodyHears(session.host, session.guests, "still here");
    if (HAS_LINKS) {
      await expect
        .poll(async () => (await rows("move-table")).find(([first]) => first === "all"), {
          timeout: 15_000,
        })
        .toEqual([
          "all",
          "0",
          "2",
          "0",
          "0",
          "",
          ...Array(2).fill(expect.stringMatching(/ ms$/)),
          "0",
          "0",
        ]);
    }
    await press("worker-table", owner, "resume");
    await expect.poll(async () => (await workerOf(owner))?.[1], { timeout: 15_000 }).toBe("up");

    await goTo("sessions");
    await expect.poll(async () => (await rowOf())?.[1], { timeout: 15_000 }).toBe(successor);
    await press("session-table", id, "history");
    await expect
      .poll(async () => (await rows("session-events table")).map(([, what]) => what))
      .toEqual(expect.arrayContaining(["created", "joined", "released", "resumed"]));
    const causes = (await rows("session-events table")).map(([, what, , , cause]) => [what, cause]);
    if (HAS_LINKS) {
      expect(causes).toContainEqual(["released", "drain, 2 connections kept open"]);
      expect(causes).toContainEqual([
        "returned",
        expect.stringMatching(/^2 connections kept open in a move, gap \d+ ms$/),
      ]);
    }
    looker.page.once("dialog", (dialog) => void dialog.accept());
    await press("session-table", id, "end");
    await until("the guest's session is closed", () => session.guests[0]?.closedCount === 1);
    await expect
      .poll(() => looker.page.textContent("#session-table tbody"), { timeout: 15_000 })
      .toBe("No active sessions.");
  });

  test("the dashboard shows a log line within a second", async () => {
    await goTo("logs");
    // Earlier lines arrive in one event.
    await looker.page.waitForSelector("#log-lines div");
    await looker.page.evaluate(NOTE_DELAYS);
    const delays = () => looker.page.evaluate<number[]>("delays");
    const beganMs = performance.now();
    for (let written = 1; written <= 5; written++) {
      const status = await looker.page.evaluate(async () => {
        const headers = { "x-dashboard-request": "1" };
        return (await fetch("api/workers/worker-1/resume", { method: "POST", headers })).status;
      });
      expect(status).toBe(200);
      await expect.poll(async () => (await delays()).length, { timeout: 15_000 }).toBe(written);
    }
    expect(Math.min(...(await delays()))).toBeLessThan(
      machine.limitMs(beganMs, { promisedMs: 1000 }),
    );

    await looker.page.fill("#log-filter", "no line has this in it");
    await expect.poll(() => looker.page.locator("#log-lines div:visible").count()).toBe(0);
  });

  test("the dashboard runs the checks, and shows unknown where a check is impossible", async () => {
    await goTo("check");
    await expect
      .poll(async () => (await rows("check-table")).map(([name, outcome]) => [name, outcome]), {
        timeout: 15_000,
      })
      .toEqual([
        ["WebSocket from this browser", "good"],
        ["Stickiness", "good"],
        ["Store", "good"],
        ["Workers", "good"],
        ["Balancers agree", "good"],
        ["Secret", "good"],
        ["TLS certificate", "unknown"],
        ["Policy", "off"],
        ["Webhooks", "off"],
        ["Audit", "off"],
        ["StatsD", "off"],
        ["License", "off"],
      ]);
  });

  test("the dashboard works through every balancer and path prefix, without an error in the browser", async () => {
    for (const url of [`${urlOf(1)}/dashboard`, `${urlOf(1)}/k/some-key/dashboard`]) {
      await looker.page.goto(`${url}#workers`);
      await looker.page.waitForSelector('#connection[data-state="live"]');
      await expect
        .poll(async () => (await rows("worker-table")).map(([id, state]) => [id, state]))
        .toEqual([
          ["worker-1", "up"],
          ["worker-2", "up"],
        ]);
    }
    expect(looker.complaints).toEqual([]);
  });
});
