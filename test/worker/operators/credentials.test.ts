/** The operator's credentials: configured ones, the generated password, and guessing. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Clock } from "../../../shared/base/clock.ts";
import { createLog } from "../../../shared/logs/log.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { CredentialSettings } from "../../../shared/settings/operator-credentials.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import { type Credentials, createCredentials } from "../../../worker/operators/credentials.ts";
import { createFailures } from "../../../worker/operators/failures.ts";
import { createStepClock } from "../../support/step-clock.ts";

const NOTHING: CredentialSettings = {
  dashboardUser: undefined,
  dashboardPassword: undefined,
  logsUser: undefined,
  logsPassword: undefined,
};
const ADDRESS = "192.0.2.1";

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

/** A store that keeps the first text as the real ones do (test/contract/store.ts), which can be away or flushed. */
function fakeStore() {
  const kept = new Map<string, string>();
  let away = false;
  const put: Store["put"] = async (value) => {
    if (away) throw new StoreAwayError("put");
    if (value.kind === "agreed" && !kept.has(value.key)) kept.set(value.key, value.text);
    return kept.get(value.key) ?? "";
  };
  return {
    put,
    kept,
    setAway: (value: boolean) => {
      away = value;
    },
  };
}

function setUp(
  settings: Partial<CredentialSettings> = {},
  store: Pick<Store, "put"> = fakeStore(),
  clock: Clock = createStepClock(),
) {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  const log = createLog({ name: "w", level: "info", format: "text", sink });
  const counters = createCounters();
  const all = { ...NOTHING, ...settings };
  const credentials = createCredentials({ settings: all, store, clock, log, counters });
  return { credentials, lines, counters };
}

const passwordIn = (lines: readonly string[]): string =>
  /its password (\S+) /.exec(lines.join(""))?.[1] ?? "";

async function outcome(credentials: Credentials, authorization: string | undefined) {
  return (await credentials.check(authorization, ADDRESS)).outcome;
}

describe("configured credentials", () => {
  test("the dashboard's credentials take precedence over those of the logs", async () => {
    const { credentials } = setUp({
      dashboardUser: "ops",
      dashboardPassword: "one",
      logsUser: "old",
      logsPassword: "two",
    });
    expect(await credentials.check(basic("ops", "one"), ADDRESS)).toEqual({
      outcome: "granted",
      operator: { name: "ops", way: "password", permissions: ["read", "drain", "sessions"] },
    });
    expect(await outcome(credentials, basic("old", "two"))).toBe("refused");
  });

  test.each([
    { dashboardUser: "ops" },
    { dashboardPassword: "one" },
    { dashboardUser: "", dashboardPassword: "one" },
  ])("a pair of which only one half is set does not count: %o", async (half) => {
    const { credentials } = setUp({ ...half, logsUser: "old", logsPassword: "two" });
    expect(await outcome(credentials, basic("old", "two"))).toBe("granted");
    expect(await outcome(credentials, basic("ops", "one"))).toBe("refused");
  });

  test("a password may hold colons and letters of any language, and is compared exactly", async () => {
    const password = "pä:ß:пароль 🔑";
    const { credentials } = setUp({ dashboardUser: "Zoë", dashboardPassword: password });
    expect(await outcome(credentials, basic("Zoë", password))).toBe("granted");
    const given = basic("Zoë", password).replace("Basic", "bAsIc ");
    expect(await outcome(credentials, given)).toBe("granted");
    const wrong = [
      basic("Zoë", `${password} `),
      basic("zoë", password),
      basic("Zoë", password.slice(0, -1)),
      basic("", password),
      basic("Zoë", ""),
    ];
    // From an address each, so that no response is delayed.
    const verdicts = await Promise.all(wrong.map((field, i) => credentials.check(field, `${i}`)));
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(wrong.map(() => "refused"));
  });

  test("an operator whose user name has colons can sign in, and a part of the name is refused", async () => {
    const { credentials } = setUp({ dashboardUser: "a:b:", dashboardPassword: "c:d" });
    expect(await credentials.check(basic("a:b:", "c:d"), ADDRESS)).toEqual({
      outcome: "granted",
      operator: { name: "a:b:", way: "password", permissions: ["read", "drain", "sessions"] },
    });
    const wrong = ["a:b", "a:b::", "a:b::c", "a", "", ":::c:d", "a:b::c:d:"].map(
      (text) => `Basic ${Buffer.from(text).toString("base64")}`,
    );
    const verdicts = await Promise.all(wrong.map((field, i) => credentials.check(field, `${i}`)));
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(wrong.map(() => "refused"));
  });

  test("a malformed Authorization header is refused", async () => {
    const { credentials } = setUp({ dashboardUser: "ops", dashboardPassword: "one" });
    const broken = [
      undefined,
      "",
      "Basic",
      "Basic ",
      "Basic !!!",
      "Basic b3Bz",
      "Bearer b3BzOm9uZQ==",
      "Basicb3BzOm9uZQ==",
      `Basic ${"A".repeat(20_000)}`,
    ];
    const verdicts = await Promise.all(broken.map((field, i) => credentials.check(field, `${i}`)));
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(broken.map(() => "refused"));
  });
});

describe("the generated password", () => {
  test("the generated password is the same for several workers, and one of them logs it", async () => {
    const store = fakeStore();
    const workers = [setUp({}, store), setUp({}, store), setUp({}, store)];
    await Promise.all(workers.map(({ credentials }) => credentials.start()));
    const logged = workers.map(({ lines }) => passwordIn(lines)).filter((text) => text !== "");
    expect(logged).toHaveLength(1);
    const [password = ""] = logged;
    expect(password).toMatch(/^[A-Za-z0-9_-]{24}$/);
    for (const { credentials } of workers) {
      expect(await outcome(credentials, basic("ctuser", password))).toBe("granted");
    }
    const digest = createHash("sha256").update(password).digest("hex");
    expect([...store.kept.values()]).toEqual([digest]);
  });

  test("the generated password is the same after a restart, and not logged again", async () => {
    const store = fakeStore();
    const first = setUp({}, store);
    await first.credentials.start();
    const password = passwordIn(first.lines);
    const second = setUp({}, store);
    await second.credentials.start();
    expect(await outcome(second.credentials, basic("ctuser", password))).toBe("granted");
    expect(second.lines.join("")).not.toContain(password);
    expect(second.lines.join("")).toContain("was generated and logged earlier");
  });

  test("the generated password does not exist when credentials are configured", async () => {
    const store = fakeStore();
    const { credentials, lines } = setUp({ logsUser: "a", logsPassword: "b" }, store);
    await credentials.start();
    expect([store.kept.size, lines]).toEqual([0, []]);
  });

  test("the generated password is refused while the store is away, and later exists and is logged once", async () => {
    const store = fakeStore();
    store.setAway(true);
    const { credentials, lines } = setUp({}, store);
    await credentials.start();
    expect(await outcome(credentials, basic("ctuser", ""))).toBe("refused");
    store.setAway(false);
    await credentials.check(basic("ctuser", "x"), "other");
    const password = passwordIn(lines);
    expect(await outcome(credentials, basic("ctuser", password))).toBe("granted");
    expect(lines).toHaveLength(1);
    store.setAway(true);
    expect(await outcome(credentials, basic("ctuser", password))).toBe("granted");
  });

  test("the generated password is the same for all workers again after the store was flushed", async () => {
    const store = fakeStore();
    const clock = createStepClock();
    const old = setUp({}, store, clock);
    await old.credentials.start();
    store.kept.clear();
    const fresh = setUp({}, store, clock);
    await fresh.credentials.start();
    const password = passwordIn(fresh.lines);
    clock.advance(1000);
    expect(await outcome(old.credentials, basic("ctuser", password))).toBe("granted");
  });

  test("the generated password is refused when its digest in the store is malformed", async () => {
    const store = fakeStore();
    store.kept.set("credentials/password", "");
    const { credentials, lines } = setUp({}, store);
    await credentials.start();
    expect(await outcome(credentials, basic("ctuser", ""))).toBe("refused");
    expect(lines.join("")).toContain("digest of the dashboard's password is malformed");
  });
});

describe("a client that guesses", () => {
  test("a client that guesses gets each response later than the one before, while the right credentials are granted at once", async () => {
    const clock = createStepClock();
    const { credentials } = setUp(
      { dashboardUser: "ops", dashboardPassword: "one" },
      fakeStore(),
      clock,
    );
    let answered = 0;
    const attempts = Array.from({ length: 15 }, () =>
      credentials.check(basic("ops", "wrong"), ADDRESS).then(({ outcome }) => {
        expect(outcome).toBe("refused");
        answered++;
      }),
    );
    expect(await outcome(credentials, basic("ops", "one"))).toBe("granted");
    expect(answered).toBe(1);
    for (let i = 0; i < 14; i++) {
      clock.advance(50);
      await Promise.resolve();
    }
    await Promise.all(attempts);
    expect(answered).toBe(15);
  });

  test("a client that guesses is refused with flood after 100 failures in a minute, while others and the right credentials are not", async () => {
    const clock = createStepClock();
    const { credentials, counters } = setUp(
      { dashboardUser: "ops", dashboardPassword: "one" },
      fakeStore(),
      clock,
    );
    const attempts = Array.from({ length: 100 }, () =>
      credentials.check(basic("ops", "wrong"), ADDRESS),
    );
    await Promise.resolve();
    clock.advance(2000);
    await Promise.all(attempts);
    expect(await credentials.check(basic("ops", "wrong"), ADDRESS)).toEqual({
      outcome: "flood",
      retryAfterS: 58,
    });
    expect(await outcome(credentials, basic("ops", "one"))).toBe("granted");
    expect((await credentials.check(basic("ops", "wrong"), "192.0.2.2")).outcome).toBe("refused");
    expect(counters.value("worker.credentials_refused")).toBe(102);
    clock.advance(58_000);
    expect(await outcome(credentials, basic("ops", "wrong"))).toBe("refused");
  });

  test("a client that guesses is counted in a table of bounded size, an IPv6 network as one client", () => {
    const failures = createFailures(3);
    for (const address of ["a", "b", "c", "d"]) failures.add(address, 0);
    expect(failures.size).toBe(3);
    expect(failures.add("a", 1).count).toBe(1);
    failures.add("2001:db8::1", 2);
    expect(failures.add("2001:db8:0:0:ffff::2", 3).count).toBe(2);
    expect(failures.add("2001:db8:0:1::1", 4).count).toBe(1);
  });
});
