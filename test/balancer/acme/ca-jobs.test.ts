/** Jobs with a certificate authority that refuses, limits and fails as each test wants. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { get } from "node:https";
import { crypto as acmeCrypto } from "acme-client";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { certificateId, runJob } from "../../../balancer/acme/ca-jobs.ts";
import type {
  CaFailure,
  CaResult,
  CaStep,
  InspectJob,
  OrderJob,
  PreparedChallenge,
} from "../../../balancer/acme/ca-protocol.ts";
import { readRetryAfter } from "../../../balancer/acme/ca-requests.ts";
import type { Wanted } from "../../../balancer/acme/schedule.ts";
import {
  type FakeAuthority,
  type Fault,
  type Resource,
  startFakeAuthority,
} from "../../support/fake-authority.ts";
import { createIssuer } from "../../support/fake-authority-certificates.ts";
import { type Attempt, type Outcome, statusOf } from "../../support/fake-authority-orders.ts";
import { Refusal } from "../../support/fake-authority-requests.ts";
import { freePort } from "../../support/ports.ts";

/** The waits between two questions, which pass at once. */
const waits = vi.hoisted((): number[] => []);
vi.mock("node:timers/promises", async (importOriginal) => ({
  ...(await importOriginal<typeof import("node:timers/promises")>()),
  setTimeout: async (ms: number) => {
    waits.push(ms);
  },
}));

beforeEach(() => {
  waits.length = 0;
});

const HTML = { body: "<html>Please sign in</html>" };
const DOMAIN = "edge.example.com";

// --- orders ---

describe("an order", () => {
  test("an order creates an account, then the order, then the challenges, and waits until each is stored", async () => {
    const authority = await startFakeAuthority();
    const leader = createLeader(authority);
    const counts: string[] = [];
    const result = await runJob(orderJob(authority, { email: "a@example.com" }), async (step) => {
      const { accounts, orders, attempts } = authority;
      const count = (): string => [accounts, orders, attempts].map((all) => all.length).join();
      const before = count();
      // An order that goes on meanwhile would be seen.
      for (let round = 0; round < 5; round++) await ping(authority);
      counts.push(`${step.step}: ${before}, then ${count()}`);
      await leader.takeStep(step);
    });
    expect(counts).toEqual([
      "account: 1,0,0, then 1,0,0",
      "order: 1,1,0, then 1,1,0",
      "challenges: 1,1,0, then 1,1,0",
    ]);
    expectIssued(result, [DOMAIN]);
    expect(leader.account?.url).toBe(authority.accounts[0]?.url);
    expect(leader.open?.url).toContain("/order/0");
    expect(leader.open?.key).toBe(result.outcome === "issued" && result.key);
  });

  test("an order agrees to the terms and gives the contact", async () => {
    const authority = await startFakeAuthority();
    expectIssued(await runOrder(authority, { email: "a@example.com" }));
    expect(authority.accounts).toMatchObject([
      { contact: ["mailto:a@example.com"], termsOfServiceAgreed: true },
    ]);
  });

  test("an order gives no contact where none is set", async () => {
    const authority = await startFakeAuthority();
    expectIssued(await runOrder(authority));
    expect(authority.accounts).toMatchObject([
      { contact: undefined, termsOfServiceAgreed: true, bindingKeyId: undefined },
    ]);
  });

  test("an order uses the account that there is", async () => {
    const authority = await startFakeAuthority();
    const leader = createLeader(authority);
    await runJob(orderJob(authority), leader.takeStep);
    const again = createLeader(authority);
    const { account } = leader;
    expectIssued(await runJob(orderJob(authority, {}, { account }), again.takeStep));
    expect(authority.accounts).toHaveLength(1);
    expect(again.names).toEqual(["order", "challenges"]);
  });

  test("an order creates another account when the authority has deactivated the one that there is", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority);
    expectIssued(await runJob(orderJob(authority), first.takeStep));
    authority.fail("new-order", new Refusal(403, "unauthorized", "the account is deactivated"));
    const { account } = first;
    const again = createLeader(authority);
    expectIssued(await runJob(orderJob(authority, {}, { account }), again.takeStep));
    expect(authority.accounts).toHaveLength(2);
  });

  test("an order creates another account when the authority has forgotten the one that there is", async () => {
    const authority = await startFakeAuthority();
    const leader = createLeader(authority);
    await runJob(orderJob(authority), leader.takeStep);
    authority.forgetAccounts();
    const { account, open } = leader;
    const again = createLeader(authority);
    expectIssued(await runJob(orderJob(authority, {}, { account, open }), again.takeStep));
    expect(again.names).toEqual(["account", "order", "challenges"]);
    expect(again.account?.key).not.toBe(account?.key);
  });

  test("an order is for all names in one certificate", async () => {
    const authority = await startFakeAuthority();
    const domains = [DOMAIN, "b.example.com", "c.example.com"];
    expectIssued(await runOrder(authority, { domains }), domains);
    expect(authority.orders).toHaveLength(1);
  });

  test("an order waits for an authority that takes its time with the order and with the certificate", async () => {
    const authority = await startFakeAuthority();
    authority.isSlow = true;
    expectIssued(await runOrder(authority));
    expect(waits).toEqual([1000, 1000]);
  });

  test("an order that ends without a certificate fails with the authority's reason", async () => {
    const authority = await startFakeAuthority();
    authority.refusal = new Refusal(403, "caa", "a CAA record forbids it");
    expect(await runOrder(authority)).toMatchObject({
      kind: "refused",
      detail: "a CAA record forbids it (caa)",
    });
  });

  test("an order that ends with a certificate for another key fails", async () => {
    const { authority, cert } = await withCertificate();
    authority.fail("certificate", { body: cert });
    expect(await runOrder(authority)).toMatchObject({
      kind: "internal",
      detail: "the authority has issued something other than a certificate for the key",
    });
  });

  test("an order stops at a step that cannot be stored", async () => {
    const authority = await startFakeAuthority();
    for (const [step, requests] of [
      ["account", [1, 0, 0]],
      ["order", [2, 1, 0]],
      ["challenges", [3, 2, 0]],
    ] as const) {
      const leader = createLeader(authority, step);
      const result = await runJob(orderJob(authority), leader.takeStep);
      expect(result).toMatchObject({ outcome: "failed", kind: "internal", detail: STOPPED });
      const { accounts, orders, attempts } = authority;
      expect([accounts, orders, attempts].map((all) => all.length)).toEqual(requests);
    }
  });
});

describe("an order that another leader has begun", () => {
  test("an order that another leader has begun is continued from its challenges", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority, "challenges");
    await runJob(orderJob(authority), first.takeStep);
    expect(authority.orders.map(statusOf)).toEqual(["pending"]);
    expect((await continueAfter(first, authority)).names).toEqual(["challenges"]);
    expect(authority.orders).toHaveLength(1);
  });

  test("an order that another leader has begun is continued when its names are verified", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority);
    authority.fail("finalize", "closed");
    await runJob(orderJob(authority), first.takeStep);
    expect(authority.orders.map(statusOf)).toEqual(["ready"]);
    expect((await continueAfter(first, authority)).names).toEqual([]);
    expect(authority.orders).toHaveLength(1);
  });

  test("an order that another leader has begun is continued when its certificate is issued, and keeps its key", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority);
    authority.fail("certificate", "closed");
    await runJob(orderJob(authority), first.takeStep);
    expect(authority.orders.map(statusOf)).toEqual(["valid"]);
    expect((await continueAfter(first, authority)).names).toEqual([]);
    expect(authority.issued).toHaveLength(1);
  });

  test("an order that another leader has begun is replaced by a new one when it has failed", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority);
    authority.verify = () => ({ detail: "connection refused" });
    await runJob(orderJob(authority), first.takeStep);
    expect(authority.orders.map(statusOf)).toEqual(["invalid", "invalid"]);
    expect((await continueAfter(first, authority)).names).toEqual(["order", "challenges"]);
    expect(authority.orders).toHaveLength(3);
  });

  test("an order that another leader has begun is replaced by a new one when the authority does not know it", async () => {
    const authority = await startFakeAuthority();
    const first = createLeader(authority, "challenges");
    await runJob(orderJob(authority), first.takeStep);
    first.steps.push({
      step: "order",
      url: `${authority.directoryUrl.replace("directory", "order/9")}`,
      key: "",
    });
    expect((await continueAfter(first, authority)).names).toEqual(["order", "challenges"]);
  });

  test.each([
    ["cannot respond", new Refusal(503, "serverInternal", "in maintenance"), "unreachable"],
    ["limits requests", new Refusal(429, "rateLimited", "too many requests"), "rate-limited"],
  ] as const)(
    "an order that another leader has begun stays while the authority %s",
    async (_name, fault, kind) => {
      const authority = await startFakeAuthority();
      const first = createLeader(authority, "challenges");
      await runJob(orderJob(authority), first.takeStep);
      authority.fail("order", fault);
      const { account, open } = first;
      const again = createLeader(authority);
      const result = await runJob(orderJob(authority, {}, { account, open }), again.takeStep);
      expect(result).toMatchObject({ kind, detail: fault.message });
      expect(authority.orders).toHaveLength(1);
    },
  );
});

// --- challenges ---

describe("a challenge", () => {
  test.each([
    ["http-01", "tls-alpn-01"],
    ["tls-alpn-01", "http-01"],
  ] as const)(
    "a challenge by %s that fails is followed by one by %s, in another order",
    async (first, then) => {
      const authority = await startFakeAuthority();
      const leader = createLeader(authority);
      const { verify } = authority;
      authority.verify = (attempt) =>
        attempt.type === first ? { detail: "connection refused" } : verify(attempt);
      const result = await runJob(orderJob(authority, {}, { challenge: first }), leader.takeStep);
      expectIssued(result);
      expect(result).toMatchObject({ challenge: then });
      expect(authority.attempts.map(({ type }) => type)).toEqual([first, then]);
      expect(leader.names).toEqual(["account", "order", "challenges", "order", "challenges"]);
    },
  );

  test("a challenge that fails both ways ends the job, which names the domain and both reasons", async () => {
    const authority = await startFakeAuthority();
    authority.verify = ({ type }) => ({ detail: `nothing responds to ${type}` });
    const { takeStep } = createLeader(authority, undefined, authority.verify);
    expect(await runJob(orderJob(authority), takeStep)).toEqual({
      outcome: "failed",
      kind: "challenge",
      detail:
        "edge.example.com by http-01: nothing responds to http-01 · edge.example.com by tls-alpn-01: nothing responds to tls-alpn-01",
      retryAfterMs: undefined,
    });
    expect(authority.attempts).toHaveLength(2);
  });

  test("a challenge that fails for one of several names ends the job, which names that one", async () => {
    const authority = await startFakeAuthority();
    const domains = [DOMAIN, "wrong.example.com", "c.example.com"];
    const { takeStep } = createLeader(authority);
    const { verify } = authority;
    authority.verify = (attempt) =>
      attempt.domain === "wrong.example.com" ? { detail: "no such name" } : verify(attempt);
    const result = await runJob(orderJob(authority, { domains }), takeStep);
    expect(result).toMatchObject({
      kind: "challenge",
      detail:
        "wrong.example.com by http-01: no such name · wrong.example.com by tls-alpn-01: no such name",
    });
  });

  test("a challenge that the authority does not decide is given up after half a minute", async () => {
    const authority = await startFakeAuthority();
    authority.verify = () => "processing";
    const { takeStep } = createLeader(authority, undefined, authority.verify);
    const result = await runJob(orderJob(authority), takeStep);
    const late = "the authority has not said in time whether it could verify it";
    expect(result).toMatchObject({
      kind: "challenge",
      detail: `${DOMAIN} by http-01: ${late} · ${DOMAIN} by tls-alpn-01: ${late}`,
    });
    expect(waits).toEqual(Array(60).fill(1000));
  });

  test("a challenge of the only kind that the authority offers is tried once", async () => {
    const authority = await startFakeAuthority();
    authority.offers = ["dns-01", "http-01"];
    const leader = createLeader(authority);
    const job = orderJob(authority, {}, { challenge: "tls-alpn-01" });
    expect(await runJob(job, leader.takeStep)).toMatchObject({ challenge: "http-01" });
    authority.verify = () => ({ detail: "connection refused" });
    expect(await runJob(orderJob(authority), leader.takeStep)).toMatchObject({
      kind: "challenge",
      detail: `${DOMAIN} by http-01: connection refused · ${DOMAIN}: the authority does not offer tls-alpn-01`,
    });
    expect(authority.attempts).toHaveLength(2);
  });

  test("a challenge of no kind that can be used ends the job", async () => {
    const authority = await startFakeAuthority();
    authority.offers = ["dns-01"];
    expect(await runOrder(authority)).toMatchObject({
      kind: "challenge",
      detail: `${DOMAIN}: the authority does not offer http-01 · ${DOMAIN}: the authority does not offer tls-alpn-01`,
    });
  });
});

// --- external accounts ---

describe("an authority that requires an external account", () => {
  const binding = { keyId: "key-7", key: "c2VjcmV0IG9mIHRoZSBleHRlcm5hbCBhY2NvdW50_-8" };

  test("an authority that requires an external account gets the binding that is set", async () => {
    const authority = await startFakeAuthority();
    authority.binding = binding;
    expectIssued(await runOrder(authority, { binding }));
    expect(authority.accounts).toMatchObject([{ bindingKeyId: "key-7" }]);
  });

  test("an authority that requires an external account leads to the setting when no binding is set", async () => {
    const authority = await startFakeAuthority();
    authority.binding = binding;
    expect(await runOrder(authority)).toMatchObject({
      kind: "refused",
      detail:
        "an external account is required; set CT_ACME_EAB to the id and key that it gives you",
    });
  });

  test("an authority that requires an external account refuses a binding with another key", async () => {
    const authority = await startFakeAuthority();
    authority.binding = binding;
    const wrong = { ...binding, key: "YW5vdGhlcg" };
    expect(await runOrder(authority, { binding: wrong })).toMatchObject({
      kind: "refused",
      detail: "unknown external account (unauthorized)",
    });
  });
});

// --- failures ---

describe("an authority that limits orders", () => {
  test.each<Resource>(["directory", "new-nonce", "new-account", "new-order", "finalize"])(
    "an authority that limits orders is left alone for as long as it says at %s, in seconds",
    async (resource) => {
      const fault = new Refusal(429, "rateLimited", "too many certificates", "7200");
      expect(await failAt(resource, fault)).toEqual({
        outcome: "failed",
        kind: "rate-limited",
        detail: resource === "new-nonce" ? "status 429" : "too many certificates",
        retryAfterMs: 7_200_000,
      });
    },
  );

  test("an authority that limits orders is left alone until the time that it says", async () => {
    const at = new Date(Date.now() + 3_600_000).toUTCString();
    const failure = await failAt("new-order", new Refusal(429, "rateLimited", "too many", at));
    expect(failure.kind).toBe("rate-limited");
    expect(failure.retryAfterMs).toBeGreaterThan(3_590_000);
    expect(failure.retryAfterMs).toBeLessThanOrEqual(3_600_000);
  });

  test("an authority that limits orders need not say for how long", async () => {
    const failure = await failAt("new-order", new Refusal(429, "rateLimited", "too many"));
    expect(failure).toMatchObject({ kind: "rate-limited", retryAfterMs: undefined });
  });
});

describe("an authority that is unreachable", () => {
  test.each([500, 503])(
    "an authority that is unreachable says so with status %i",
    async (status) => {
      const fault = new Refusal(status, "serverInternal", "the database is away", "120");
      for (const resource of ["directory", "new-account", "new-order", "finalize"] as const) {
        expect(await failAt(resource, fault)).toEqual({
          outcome: "failed",
          kind: "unreachable",
          detail: "the database is away",
          retryAfterMs: 120_000,
        });
      }
    },
  );

  test.each<Resource>(["directory", "new-nonce", "new-account", "new-order", "challenge"])(
    "an authority that closes the connection at %s is unreachable",
    async (resource) => {
      const failure = await failAt(resource, "closed");
      expect(failure).toMatchObject({ kind: "unreachable", detail: "socket hang up" });
    },
  );

  test("an authority that closes the connection after it refused a nonce is unreachable, and the nonce is no longer the reason", async () => {
    const authority = await startFakeAuthority();
    authority.fail("new-account", new Refusal(400, "badNonce", "it is too old"));
    authority.fail("new-order", "closed");
    const result = await runOrder(authority);
    expect(result).toMatchObject({ kind: "unreachable", detail: "socket hang up" });
  });

  test("an authority with nothing at its port, at each address of its name, is unreachable", async () => {
    const authority = await startFakeAuthority();
    const port = await freePort();
    for (const name of ["127.0.0.1", "localhost"]) {
      const directory = `https://${name}:${port}/directory`;
      const result = await runJob(orderJob(authority, { directory }), neverTaken);
      expect(result).toMatchObject({ outcome: "failed", kind: "unreachable" });
      expect(result).toHaveProperty("detail", expect.stringContaining(`ECONNREFUSED`));
    }
  });

  test.each<Resource>([
    "directory",
    "new-account",
    "new-order",
    "authorization",
    "challenge",
    "order",
    "finalize",
    "certificate",
  ])("an authority with a page of another program at %s is unreachable", async (resource) => {
    const { kind, detail } = await failAt(resource, HTML);
    expect(kind).toBe("unreachable");
    expect(detail).toMatch(
      /^https:\/\/127\.0\.0\.1:\d+\/\S+ responds with something other than ACME$/,
    );
    expect(detail).toContain(`/${resource}`);
  });

  test.each<Resource>(["directory", "new-order", "certificate"])(
    "an authority that sends 100 MB at %s is unreachable, and they are not read",
    async (resource) => {
      const failure = await failAt(resource, "huge");
      expect(failure).toMatchObject({
        kind: "unreachable",
        detail: "maxContentLength size of 16777216 exceeded",
      });
    },
  );
});

describe("an authority that is not trusted", () => {
  test("an authority that is not trusted leads to the setting, also after a job that trusted it", async () => {
    const authority = await startFakeAuthority();
    expectIssued(await runOrder(authority));
    const result = await runJob(orderJob(authority, { ca: undefined }), neverTaken);
    expect(result).toMatchObject({ outcome: "failed", kind: "untrusted" });
    expect(result).toHaveProperty(
      "detail",
      expect.stringMatching(/; set CT_ACME_CA to the root of the authority at CT_ACME_URL$/),
    );
    expect(authority.accounts).toHaveLength(1);
  });

  test("an authority with another root than the setting is not trusted", async () => {
    const authority = await startFakeAuthority();
    const { root } = await createIssuer();
    const result = await runJob(orderJob(authority, { ca: root }), neverTaken);
    expect(result).toMatchObject({ outcome: "failed", kind: "untrusted" });
    expect(result).toHaveProperty("detail", expect.stringContaining("CT_ACME_CA"));
  });

  test("an authority whose certificate is another host's leads to the address", async () => {
    const authority = await startFakeAuthority();
    const directory = authority.directoryUrl.replace("127.0.0.1", "localhost");
    const result = await runJob(orderJob(authority, { directory }), neverTaken);
    expect(result).toMatchObject({ outcome: "failed", kind: "untrusted" });
    expect(result).toHaveProperty(
      "detail",
      expect.stringMatching(/; check the host name in CT_ACME_URL$/),
    );
  });

  test("an authority whose certificate has expired leads to the clock", async () => {
    const authority = await startFakeAuthority(true);
    expect(await runJob(orderJob(authority), neverTaken)).toEqual({
      outcome: "failed",
      kind: "untrusted",
      detail:
        "certificate has expired; check this machine's clock, and the authority's certificate",
      retryAfterMs: undefined,
    });
  });
});

test("a nonce that the authority refuses is replaced", async () => {
  const authority = await startFakeAuthority();
  for (const resource of ["new-account", "new-order", "finalize"] as const) {
    authority.fail(resource, new Refusal(400, "badNonce", "it is too old"));
  }
  expectIssued(await runOrder(authority));
});

// --- renewals ---

describe("an order that replaces a certificate", () => {
  test("an order that replaces a certificate names it, so that the authority does not count it", async () => {
    const { authority, replace, id } = await withCertificate();
    expectIssued(await replace());
    expect(authority.orders.map(({ replaces }) => replaces)).toEqual([undefined, id]);
  });

  test("an order that replaces a certificate does not name it to an authority without renewal information", async () => {
    const { authority, replace } = await withCertificate();
    authority.hasRenewalInfo = false;
    expectIssued(await replace());
    expect(authority.orders.map(({ replaces }) => replaces)).toEqual([undefined, undefined]);
  });

  test("an order that replaces a certificate is made without its name when that was replaced before", async () => {
    const { authority, replace, id } = await withCertificate();
    expectIssued(await replace());
    expectIssued(await replace());
    expect(authority.orders.map(({ replaces }) => replaces)).toEqual([undefined, id, undefined]);
  });

  test.each([
    ["limits orders", new Refusal(429, "rateLimited", "too many", "60"), "rate-limited"],
    ["cannot respond", new Refusal(503, "serverInternal", "away", "60"), "unreachable"],
  ] as const)(
    "an order that replaces a certificate keeps its name when the authority %s",
    async (_name, fault, kind) => {
      const { authority, replace } = await withCertificate();
      authority.fail("new-order", fault);
      expect(await replace()).toMatchObject({ kind, retryAfterMs: 60_000 });
      expect(authority.orders).toHaveLength(1);
    },
  );
});

describe("an inspection", () => {
  const WINDOW = {
    startMs: Date.parse("2030-01-02T03:04:05Z"),
    endMs: Date.parse("2030-01-04T03:04:05Z"),
  };

  test("an inspection finds when the authority wants the certificate to be renewed, and when to ask again", async () => {
    const { authority, cert } = await withCertificate();
    expect(await inspect(authority, cert)).toEqual({
      outcome: "inspected",
      window: WINDOW,
      retryAfterMs: 21_600_000,
      isRevoked: false,
    });
    expect(authority.requests).toContain("revocation-list");
  });

  test("an inspection finds that the certificate is revoked", async () => {
    const { authority, cert, serial } = await withCertificate();
    authority.revoked.add("0123").add(serial).add("4567");
    expect(await inspect(authority, cert)).toMatchObject({ isRevoked: true, window: WINDOW });
  });

  test("an inspection finds that the certificate is revoked while there is no renewal information", async () => {
    const { authority, cert, serial } = await withCertificate();
    authority.revoked.add(serial);
    const revoked = { outcome: "inspected", window: undefined, isRevoked: true };
    for (const fault of ["closed", HTML, new Refusal(404, "malformed", "unknown")] as const) {
      authority.fail("renewal-info", fault);
      expect(await inspect(authority, cert)).toMatchObject(revoked);
    }
  });

  test("an inspection does not believe a list that another key has signed", async () => {
    const { authority, cert, serial } = await withCertificate();
    authority.revoked.add(serial);
    authority.listIssuer = await createIssuer();
    expect(await inspect(authority, cert)).toMatchObject({ isRevoked: false, window: WINDOW });
    expect(authority.requests).toContain("revocation-list");
  });

  test.each<[string, Fault]>([
    ["the connection is closed", "closed"],
    ["it is a page of another program", HTML],
    ["it is too long", "huge"],
    ["the authority is away", new Refusal(503, "serverInternal", "away")],
  ])("an inspection does without a list that cannot be read: %s", async (_name, fault) => {
    const { authority, cert, serial } = await withCertificate();
    authority.revoked.add(serial);
    authority.fail("revocation-list", fault);
    expect(await inspect(authority, cert)).toMatchObject({ isRevoked: false, window: WINDOW });
  });

  test("an inspection reads the list of an authority without renewal information", async () => {
    const { authority, cert, serial } = await withCertificate();
    authority.hasRenewalInfo = false;
    authority.revoked.add(serial);
    expect(await inspect(authority, cert)).toEqual({
      outcome: "inspected",
      window: undefined,
      retryAfterMs: undefined,
      isRevoked: true,
    });
  });

  test("an inspection ignores a window that ends before it begins", async () => {
    const { authority, cert } = await withCertificate();
    const { start, end } = authority.renewal;
    authority.renewal = { start: end, end: start, retryAfter: "60" };
    expect(await inspect(authority, cert)).toMatchObject({ window: undefined });
    authority.renewal = { start: "soon", end: "later", retryAfter: "60" };
    expect(await inspect(authority, cert)).toMatchObject({ window: undefined });
  });

  test("an inspection fails when the authority is away", async () => {
    const { authority, cert } = await withCertificate();
    authority.fail("renewal-info", new Refusal(503, "serverInternal", "away", "120"));
    const failure = { outcome: "failed", kind: "unreachable", retryAfterMs: 120_000 };
    expect(await inspect(authority, cert)).toMatchObject(failure);
    authority.fail("directory", HTML);
    expect(await inspect(authority, cert)).toMatchObject({
      kind: "unreachable",
      detail: `${authority.directoryUrl} responds with something other than ACME`,
    });
  });
});

test("the id of a certificate is that of the example in RFC 9773", () => {
  expect(certificateId(RFC_9773_EXAMPLE)).toBe("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
});

/** Appendix A. */
const RFC_9773_EXAMPLE = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
`;

// --- Retry-After ---

describe("Retry-After", () => {
  test("Retry-After is read as seconds", () => {
    expect(readRetryAfter("0")).toBe(0);
    expect(readRetryAfter("120")).toBe(120_000);
  });

  test("Retry-After is read as a date", () => {
    const ms = readRetryAfter(new Date(Date.now() + 60_000).toUTCString());
    expect(ms).toBeGreaterThan(55_000);
    expect(ms).toBeLessThanOrEqual(60_000);
  });

  test("Retry-After with a date in the past means now", () => {
    expect(readRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT")).toBe(0);
  });

  test("Retry-After is at most a week, so that an authority's mistake does not stop renewals for years", () => {
    const weekMs = 7 * 24 * 3_600_000;
    expect(readRetryAfter("604800")).toBe(weekMs);
    expect(readRetryAfter("999999999")).toBe(weekMs);
    expect(readRetryAfter("9".repeat(400))).toBe(weekMs);
    expect(readRetryAfter("Fri, 31 Dec 9999 23:59:59 GMT")).toBe(weekMs);
    expect(readRetryAfter("Fri, 31 Dec 275000 23:59:59 GMT")).toBe(weekMs);
  });

  test.each(["", " ", "soon", "in 5 minutes", "-5", "1.5", "1e3", "0x10", undefined, 120])(
    "Retry-After that is neither seconds nor a date is ignored: %j",
    (value) => {
      expect(readRetryAfter(value)).toBeUndefined();
    },
  );
});

// --- parts ---

const STOPPED = "this balancer does not lead any more";

/**
 * What a leader keeps. The authority finds the responses that are stored, as it would at the edge. `stopAt`: this step cannot be
 * stored.
 */
function createLeader(
  authority: FakeAuthority,
  stopAt?: CaStep["step"],
  verify?: (attempt: Attempt) => Outcome,
) {
  const steps: CaStep[] = [];
  const stored: PreparedChallenge[] = [];
  const last = (kind: "account" | "order") => {
    const step = steps.findLast((one) => one.step === kind);
    return step === undefined || step.step === "challenges" ? undefined : step;
  };
  authority.verify =
    verify ??
    ((attempt) =>
      stored.some((one) => isResponse(one, attempt)) ? "valid" : { detail: "no response" });
  return {
    steps,
    get names(): string[] {
      return steps.map(({ step }) => step);
    },
    get account() {
      return last("account");
    },
    get open() {
      return last("order");
    },
    takeStep: async (step: CaStep): Promise<void> => {
      if (step.step === stopAt) throw new Error(STOPPED);
      steps.push(step);
      if (step.step === "challenges") stored.push(...step.challenges);
    },
  };
}

type Leader = ReturnType<typeof createLeader>;

function isResponse(challenge: PreparedChallenge, attempt: Attempt): boolean {
  const { type, token, domain, keyAuthorization } = attempt;
  if (challenge.type !== type) return false;
  if (challenge.type === "http-01") {
    return challenge.token === token && challenge.response === keyAuthorization;
  }
  return (
    challenge.domain === domain &&
    acmeCrypto.isAlpnCertificateAuthorizationValid(challenge.cert, keyAuthorization) &&
    new X509Certificate(challenge.cert).checkHost(domain) === domain
  );
}

const neverTaken = (): Promise<void> => Promise.reject(new Error("there is nothing to store"));

function wantedOf(authority: FakeAuthority, changes: Partial<Wanted> = {}): Wanted {
  return {
    directory: authority.directoryUrl,
    domains: [DOMAIN],
    email: undefined,
    binding: undefined,
    ca: authority.root,
    ...changes,
  };
}

function orderJob(
  authority: FakeAuthority,
  wanted: Partial<Wanted> = {},
  changes: Partial<OrderJob> = {},
): OrderJob {
  return {
    kind: "order",
    wanted: wantedOf(authority, wanted),
    account: undefined,
    open: undefined,
    challenge: "http-01",
    replaces: undefined,
    ...changes,
  };
}

/** How an order ends whose steps a leader stores. */
function runOrder(
  authority: FakeAuthority,
  wanted: Partial<Wanted> = {},
  changes: Partial<OrderJob> = {},
): Promise<CaResult> {
  return runJob(orderJob(authority, wanted, changes), createLeader(authority).takeStep);
}

/** The order that `first` has begun leads to a certificate. */
async function continueAfter(first: Leader, authority: FakeAuthority): Promise<Leader> {
  const { account, open } = first;
  const next = createLeader(authority);
  const result = await runJob(orderJob(authority, {}, { account, open }), next.takeStep);
  expectIssued(result);
  const key = (next.open ?? open)?.key;
  expect(result.outcome === "issued" && result.key).toBe(key);
  return next;
}

function expectIssued(result: CaResult, domains: readonly string[] = [DOMAIN]): void {
  expect(result).toMatchObject({ outcome: "issued" });
  if (result.outcome !== "issued") return;
  const certificate = new X509Certificate(result.cert);
  const names = domains.map((domain) => `DNS:${domain}`).join(", ");
  expect(certificate.subjectAltName).toBe(names);
  const own = acmeCrypto.getPublicKey(result.key).toString();
  expect(certificate.publicKey.export({ type: "spki", format: "pem" })).toBe(own);
}

/** How an order ends that meets `fault` once. */
async function failAt(resource: Resource, fault: Fault): Promise<CaFailure> {
  const authority = await startFakeAuthority();
  authority.fail(resource, fault);
  const result = await runOrder(authority);
  if (result.outcome !== "failed") throw new Error(`it is ${result.outcome}`);
  return result;
}

async function withCertificate() {
  const authority = await startFakeAuthority();
  const leader = createLeader(authority);
  const result = await runJob(orderJob(authority), leader.takeStep);
  const [issued] = authority.issued;
  if (result.outcome !== "issued" || issued === undefined) throw new Error("no certificate");
  const { id, serial } = issued;
  const { cert } = result;
  const { account } = leader;
  const replace = () => runOrder(authority, {}, { account, replaces: cert });
  return { authority, cert, replace, id, serial };
}

function inspect(authority: FakeAuthority, cert: string): Promise<CaResult> {
  const job: InspectJob = { kind: "inspect", wanted: wantedOf(authority), cert };
  return runJob(job, neverTaken);
}

/** A request and its response. */
async function ping(authority: FakeAuthority): Promise<void> {
  const request = get(authority.directoryUrl, { ca: authority.root });
  const [response] = await once(request, "response");
  response.resume();
  await once(response, "end");
}
