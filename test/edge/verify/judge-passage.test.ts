/** What `ct-edge verify` makes of what it has seen from outside. */
import { expect, test } from "vitest";
import {
  judgeBasePath,
  judgeCors,
  judgeServerUrl,
  pageFiles,
} from "../../../edge/verify/judge/address.ts";
import {
  judgeBodyLimit,
  judgeFrontCookie,
  judgeIdle,
  judgePolling,
  judgeRequestBuffering,
  judgeResponseBuffering,
  judgeWebSocket,
} from "../../../edge/verify/judge/passage.ts";
import {
  judgeCertificate,
  judgeClock,
  judgeEdge,
  protocolVersionOf,
  serverUrlOf,
} from "../../../edge/verify/judge/reach.ts";
import type {
  Failed,
  FailureReason,
  Handshake,
  Responded,
  Silence,
} from "../../../edge/verify/model/observations.ts";
import { parseTarget, type Target } from "../../../edge/verify/model/target.ts";
import type { CertificateAnswer } from "../../../edge/verify/probes/certificate.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";

function response(more: Partial<Responded> = {}): Responded {
  return { outcome: "response", status: 200, headers: {}, body: "", tookMs: 1, ...more };
}

function failure(reason: FailureReason, detail = "ECODE"): Failed {
  return { outcome: "failed", reason, detail, tookMs: 1 };
}

function targetOf(url: string): Target {
  const target = parseTarget(url);
  if (target === undefined) throw new Error(url);
  return target;
}

const META = response({ body: '{"owner":"A","version":"0.3.1","transports":["socket.io"]}' });

function pageOf(serverUrl: string, headers: Responded["headers"] = {}): Responded {
  const content = JSON.stringify({ serverUrl }).replaceAll('"', "&#34;");
  const body = `<meta name="ct-edge" content="${content}"><link rel="icon" href="/login.svg"><script type="module" src="/app/main-X.js"></script>`;
  return response({ body, headers });
}

// --- target ---

test("a URL of an edge is http or https, without user, query and fragment; a host alone means https", () => {
  expect(parseTarget("edge.example.com")).toEqual({
    baseUrl: "https://edge.example.com",
    origin: "https://edge.example.com",
    basePath: "",
    isSecure: true,
  });
  expect(parseTarget("http://h:1080/edge//")).toMatchObject({
    baseUrl: "http://h:1080/edge",
    basePath: "/edge",
    isSecure: false,
  });
  for (const text of ["", "ftp://h", "https://u@h", "https://h?x", "https://h/#R", "http://"]) {
    expect(parseTarget(text), text).toBeUndefined();
  }
});

// --- edge ---

test("the response to /api/meta shows an edge", () => {
  expect(judgeEdge(META)).toMatchObject({ state: "held", cause: "it speaks protocol 0.3.1" });
  for (const body of [
    "",
    "{}",
    "null",
    '{"version":1,"transports":[]}',
    '{"version":"1"}',
    "<html>",
  ]) {
    expect(protocolVersionOf(response({ body })), body).toBeUndefined();
    expect(judgeEdge(response({ body }))).toMatchObject({ state: "broken" });
  }
});

test.each([
  [302, { location: "https://sso/" }, /redirects to https:\/\/sso\/ /, /captive portal/],
  [401, {}, /asks for a sign-in of its own/, /let the edge's paths pass/],
  [502, { server: "nginx" }, /does not reach the edge \(status 502, by nginx\)/, /upstream/],
  [503, {}, /the edge takes no requests \(status 503: no text\)/, /ct-edge list/],
  [
    404,
    { server: "Apache" },
    /another server responds \(status 404, by Apache\)/,
    /correct the URL/,
  ],
] as const)(
  "status %i instead of an edge has its cause and its cure",
  (status, headers, cause, cure) => {
    const finding = judgeEdge(response({ status, headers }));
    expect(finding.state).toBe("broken");
    expect(finding.cause).toMatch(cause);
    expect(finding.cure).toMatch(cure);
  },
);

test("an interruption is no fault of the edge", () => {
  expect(judgeEdge(failure("interrupted")).state).toBe("unknown");
  expect(judgePolling(failure("interrupted"), failure("interrupted")).state).toBe("unknown");
  expect(judgeWebSocket(failure("interrupted")).state).toBe("unknown");
  expect(judgeIdle([], true).state).toBe("unknown");
});

// --- certificate and clock ---

const DAY_MS = 86_400_000;
const NOW_MS = 1_800_000_000_000;

function certificate(more: Partial<Extract<CertificateAnswer, { outcome: "read" }>> = {}) {
  return {
    outcome: "read",
    problem: undefined,
    issuer: "CA",
    names: "DNS:edge",
    validFromMs: NOW_MS - DAY_MS,
    validToMs: NOW_MS + 90 * DAY_MS,
    ...more,
  } as const;
}

test("a certificate is held, or broken for one reason", () => {
  const judge = (answer: CertificateAnswer) => judgeCertificate(answer, "edge", NOW_MS);
  expect(judge(certificate())).toEqual({
    state: "held",
    cause: "of CA, valid for 90 days",
    cure: "",
  });
  expect(judge(certificate({ validToMs: NOW_MS + 13 * DAY_MS })).warning).toBe(
    "it expires in 13 days: renew it",
  );
  expect(
    judge(certificate({ validToMs: NOW_MS - DAY_MS, problem: "CERT_HAS_EXPIRED" })),
  ).toMatchObject({ state: "broken", cause: "it expired 1 day ago" });
  expect(judge(certificate({ problem: "ERR_TLS_CERT_ALTNAME_INVALID" })).cause).toBe(
    "it does not cover edge, only DNS:edge",
  );
  expect(judge(certificate({ problem: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" })).cure).toMatch(
    /intermediate/,
  );
  expect(judge(certificate({ problem: "SOMETHING_NEW" })).cause).toMatch(/SOMETHING_NEW/);
  expect(judge({ outcome: "failed", detail: "ECONNRESET" }).state).toBe("unknown");
});

test("plain HTTP is a warning, except on this machine", () => {
  expect(judgeCertificate(undefined, "edge.example.com", NOW_MS).warning).toMatch(/plain HTTP/);
  expect(judgeCertificate(undefined, "127.0.0.1", NOW_MS).warning).toBeUndefined();
});

test("a clock that differs is a warning only, and without a Date it is unknown", () => {
  const at = (ms: number) => response({ headers: { date: new Date(NOW_MS + ms).toUTCString() } });
  expect(judgeClock(at(2000), NOW_MS)).toMatchObject({ state: "held" });
  expect(judgeClock(at(-120_000), NOW_MS)).toMatchObject({
    state: "held",
    warning: expect.stringMatching(/120 s behind/),
  });
  expect(judgeClock(META, NOW_MS).state).toBe("unknown");
});

// --- address ---

test("the edge's page tells its URL", () => {
  expect(serverUrlOf(pageOf("https://edge.example.com/x"))).toBe("https://edge.example.com/x");
  expect(serverUrlOf(response({ body: '<meta name="ct-edge" content="{">' }))).toBeUndefined();
  const target = targetOf("https://edge.example.com/x");
  expect(judgeServerUrl(pageOf("https://edge.example.com/x/"), target).state).toBe("held");
});

test("a wrong CT_SERVER_URL is told apart from what proxies pass on", () => {
  const target = targetOf("https://edge.example.com");
  const isSet = { "strict-transport-security": "max-age=1" };
  expect(judgeServerUrl(pageOf("https://old.example.com", isSet), target).cause).toMatch(
    /^CT_SERVER_URL is https:\/\/old\.example\.com/,
  );
  const derived = judgeServerUrl(pageOf("http://edge.example.com"), target);
  expect(derived.cause).toMatch(/because of the Host and X-Forwarded/);
  expect(derived.cure).toMatch(/CT_TRUSTED_PROXIES/);
});

test("a file of the page that is not found is a wrong base path", () => {
  const target = targetOf("https://edge.example.com/edge");
  const page = pageOf("https://edge.example.com/edge");
  expect(pageFiles(page)).toEqual(["/login.svg", "/app/main-X.js"]);
  const missing = [{ path: "/app/main-X.js", answer: response({ status: 404 }) }];
  expect(judgeBasePath(page, missing, target)).toMatchObject({
    state: "broken",
    cause: "/app/main-X.js is not found (status 404)",
    cure: expect.stringContaining("/edge"),
  });
  expect(judgeBasePath(response({ status: 404 }), [], target).state).toBe("broken");
  expect(judgeBasePath(page, [{ path: "/a", answer: response() }], target).state).toBe("held");
});

test("CORS headers of the edge are held; doubled, missing and generous ones are broken", () => {
  const allow = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "x-oct-jwt, content-type",
  };
  const preflight = response({ headers: allow });
  const simple = response({ headers: { "access-control-allow-origin": "*" } });
  const own = response({
    headers: {
      "access-control-allow-origin": "https://edge",
      "access-control-allow-credentials": "true",
    },
  });
  expect(judgeCors(preflight, simple, own).state).toBe("held");
  const doubled = response({ headers: { "access-control-allow-origin": ["*", "*"] } });
  expect(judgeCors(preflight, doubled, own).cause).toMatch(/there twice/);
  expect(judgeCors(response({ status: 405 }), simple, own).cause).toMatch(/status 405/);
  expect(judgeCors(preflight, response(), own).cause).toMatch(/missing instead of \*/);
  const generous = response({ headers: { ...allow, "access-control-allow-credentials": "true" } });
  expect(judgeCors(generous, simple, own).cause).toMatch(/any origin may send cookies/);
  expect(judgeCors(preflight, simple, simple).cause).toMatch(/own pages/);
  expect(judgeCors(preflight, simple, failure("cut")).state).toBe("unknown");
});

// --- passage ---

function open(sid: string, tookMs = 1): Handshake {
  return { outcome: "open", sid, tag: "a".repeat(16) as WorkerTag, headers: {}, tookMs };
}

test("a WebSocket is held, refused, or delayed by a buffer", () => {
  expect(judgeWebSocket(open("s")).state).toBe("held");
  expect(judgeWebSocket(open("s", 5000)).cure).toMatch(/buffering off/);
  expect(judgeWebSocket(response({ status: 400 }))).toMatchObject({
    state: "broken",
    cause: "an upgrade gets status 400 instead of 101",
    cure: expect.stringContaining("proxy_http_version 1.1"),
  });
  expect(judgeWebSocket(response({ status: 503 })).cure).toMatch(/worker/);
  expect(judgeWebSocket(failure("cut")).cure).toMatch(/let upgrades pass/);
});

test("two connections with one id come from a cache, and one without a tag from another server", () => {
  expect(judgePolling(open("a"), open("b")).state).toBe("held");
  expect(judgePolling(open("a"), open("a")).cause).toMatch(/from a cache/);
  const foreign = { ...open("a"), tag: undefined } as Handshake;
  expect(judgePolling(foreign, open("b")).cause).toMatch(/not a worker of this product/);
});

function silence(what: Silence["what"], end: Silence["end"], watchedMs = 30_100): Silence {
  return { what, end, watchedMs };
}

const QUIET = silence("websocket", { how: "open" });
const ENDED = silence("long poll", { how: "answered", afterMs: 30_020 });

test("idle connections are held only after the length of a long poll", () => {
  expect(judgeIdle([QUIET, ENDED], false).state).toBe("held");
  const short = [
    silence("websocket", { how: "open" }, 5000),
    silence("long poll", { how: "open" }, 5000),
  ];
  expect(judgeIdle(short, false)).toMatchObject({
    state: "unknown",
    cause: "nothing was cut in 5.0 s, but long polls last 30 s",
  });
});

test("a cut is broken whichever was cut, and an early end by the edge is unknown", () => {
  const cut = silence("long poll", { how: "cut", afterMs: 30_001, detail: "status 504" });
  expect(judgeIdle([QUIET, cut], false)).toMatchObject({
    state: "broken",
    cause: "a long poll was cut after 30.0 s (status 504)",
  });
  const lost = silence("websocket", { how: "cut", afterMs: 10_000, detail: "close code 1006" });
  expect(judgeIdle([lost, ENDED], false).cause).toMatch(/^a WebSocket was cut after 10\.0 s/);
  const early = silence("long poll", { how: "answered", afterMs: 1000 });
  expect(judgeIdle([QUIET, early], false)).toMatchObject({
    state: "unknown",
    cause: expect.stringContaining("about to stop"),
  });
  const missing = silence("websocket", { how: "not opened", detail: "status 400" });
  expect(judgeIdle([missing, ENDED], false).state).toBe("unknown");
});

test("buffering shows itself by silence", () => {
  const silent = { outcome: "silence", waitedMs: 4000 } as const;
  const answered = (status: number) =>
    ({ outcome: "response", status, headers: {}, tookMs: 1 }) as const;
  expect(judgeRequestBuffering(silent).cure).toMatch(/proxy_request_buffering off/);
  expect(judgeRequestBuffering(answered(403)).state).toBe("held");
  expect(judgeRequestBuffering(answered(413)).state).toBe("unknown");
  expect(judgeResponseBuffering(undefined).cure).toMatch(/--token/);
  expect(judgeResponseBuffering(silent).state).toBe("broken");
  expect(judgeResponseBuffering(answered(200)).state).toBe("held");
  expect(judgeResponseBuffering(answered(401)).state).toBe("unknown");
});

test("a limit of bodies is seen by the announcement or by the file", () => {
  const answered = (status: number) =>
    ({ outcome: "response", status, headers: {}, tookMs: 1 }) as const;
  const done = { outcome: "done", tag: undefined, transport: "polling", tookMs: 1 } as const;
  expect(judgeBodyLimit(answered(413), undefined).state).toBe("broken");
  expect(judgeBodyLimit(answered(403), done).state).toBe("held");
  expect(
    judgeBodyLimit(answered(403), { outcome: "failed", step: "send a file", detail: "status 413" }),
  ).toMatchObject({ state: "broken", cause: expect.stringContaining("status 413") });
  expect(
    judgeBodyLimit(answered(403), { outcome: "failed", step: "ask to join", detail: "no" }).state,
  ).toBe("unknown");
  expect(judgeBodyLimit(answered(403), undefined).state).toBe("unknown");
});

test("a cookie that the edge does not set is one of something in front", () => {
  expect(judgeFrontCookie([META]).state).toBe("held");
  expect(judgeFrontCookie([]).state).toBe("unknown");
  const sticky = response({ headers: { "set-cookie": ["AWSALB=x; Path=/", "lb=1"] } });
  expect(judgeFrontCookie([META, sticky])).toMatchObject({
    state: "broken",
    cause: expect.stringContaining("AWSALB, lb"),
  });
});
