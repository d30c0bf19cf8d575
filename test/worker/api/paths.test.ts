/**
 * Clients join a base URL and a path in several ways: Theia requests `//api/login/simple`, others `/api/meta/`. All
 * spellings of a path are the same path, for authorization too.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mergeSlashes } from "../../../shared/net/request-path.ts";
import { readTarget } from "../../../worker/http/routes.ts";
import { connectRaw, exchange } from "../../support/sockets.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { type Answer, startWorker, type Worker } from "./fixture.ts";

const ROOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7";
const OPERATOR = { authorization: `Basic ${Buffer.from("ops:operator").toString("base64")}` };

/** `path` with duplicate slashes, in every position. */
function spellings(path: string): string[] {
  const [plain = "", query] = path.split("?");
  const rest = query === undefined ? "" : `?${query}`;
  return [
    `/${plain}${rest}`,
    `${plain}/${rest}`,
    `${plain}///${rest}`,
    `${plain.replaceAll("/", "//")}${rest}`,
    `//${plain.replaceAll("/", "///")}//${rest}`,
  ];
}

function seen({ status, headers, body }: Answer): unknown {
  const { date: _date, ...fields } = headers;
  // The one part of a page that differs between two responses.
  const nonce = /nonce-[^']+/.exec(String(fields["content-security-policy"]))?.[0].slice(6);
  const parts = { status, fields, body };
  return nonce === undefined ? parts : JSON.stringify(parts).replaceAll(nonce, "NONCE");
}

async function operatedWorker(): Promise<Worker> {
  return startWorker({
    clientsDir: tempFolder(),
    logDir: tempFolder(),
    metricsPage: async () => "a 1\n",
  });
}

test.each([
  "/dashboard/api/echo",
  "/dashboard/api/logs",
  "/dashboard/no-such-thing",
  "/logs/no-such-thing",
  "/metrics",
  "/clients/downloads.csv",
])(
  "%s requires the operator's credentials in every spelling, and then serves the same",
  async (path) => {
    const worker = await operatedWorker();
    const refused = seen(await worker.ask("GET", path));
    const granted = seen(await worker.ask("GET", path, { headers: OPERATOR }));
    expect(refused).toMatchObject({ status: 401 });
    for (const spelling of spellings(path)) {
      expect([spelling, seen(await worker.ask("GET", spelling))]).toEqual([spelling, refused]);
      const answer = await worker.ask("GET", spelling, { headers: OPERATOR });
      expect([spelling, seen(answer)]).toEqual([spelling, granted]);
    }
  },
);

test.each(["/dashboard", "/dashboard/", "/logs", "/logs/"])(
  "%s, whose last slash counts, needs the operator's credentials with any number of slashes in front",
  async (path) => {
    const worker = await operatedWorker();
    const refused = seen(await worker.ask("GET", path));
    const granted = seen(await worker.ask("GET", path, { headers: OPERATOR }));
    expect(refused).toMatchObject({ status: 401 });
    for (const spelling of [`/${path}`, `///${path}`]) {
      expect([spelling, seen(await worker.ask("GET", spelling))]).toEqual([spelling, refused]);
      const answer = await worker.ask("GET", spelling, { headers: OPERATOR });
      expect([spelling, seen(answer)]).toEqual([spelling, granted]);
    }
    const doubled = await worker.ask("GET", `${path}//`, { headers: OPERATOR });
    expect(doubled.status).toBe(200);
  },
);

test.each(["/", "/api/meta", "/api/meta?x=//y/", "/clients", "/login.html?token=abc", "/join"])(
  "%s is the same in every spelling, without credentials",
  async (path) => {
    const worker = await operatedWorker();
    const response = await worker.ask("GET", path);
    expect(response).toMatchObject({ status: 200 });
    const plain = seen(response);
    for (const spelling of spellings(path)) {
      expect([spelling, seen(await worker.ask("GET", spelling))]).toEqual([spelling, plain]);
    }
  },
);

test("an operator's command is refused without credentials in every spelling", async () => {
  const worker = await operatedWorker();
  for (const path of spellings("/dashboard/api/workers/worker-1/drain")) {
    expect([path, (await worker.ask("POST", path)).status]).toEqual([path, 401]);
    // With credentials, only the dashboard's own page may send it.
    const headers = { ...OPERATOR, "sec-fetch-site": "cross-site" };
    expect([path, (await worker.ask("POST", path, { headers })).status]).toEqual([path, 403]);
  }
});

test("encoded slashes and dots, and backslashes, reach nothing that requires credentials", async () => {
  const worker = await operatedWorker();
  for (const path of [
    "/%2fdashboard/api/echo",
    "/%2Fdashboard",
    "/dashboard%2fapi%2fecho",
    "/dashboard%2Fapi/echo",
    "/clients/%2e%2e/dashboard/api/echo",
    "/clients/../dashboard/api/echo",
    "/%2e/dashboard/api/echo",
    "/./dashboard/api/echo",
    "/\\dashboard/api/echo",
    "/clients/eclipse/%2e%2e/%2e%2e/metrics",
    "/metrics%2f",
    "/%2e%2fmetrics",
    "/clients%2fdownloads.csv",
    "/clients/%2fdownloads.csv",
  ]) {
    const answer = await get(worker, path);
    expect([path, answer.slice(9, 12)]).toEqual([path, "404"]);
  }
  // The router decodes these, and they require the same credentials.
  for (const path of ["/%64ashboard/api/echo", "//dashboard/%61pi/echo", "/dashboard/%2e%2e/x"]) {
    expect([path, (await get(worker, path)).slice(9, 12)]).toEqual([path, "401"]);
  }
});

test("a preflight gets its response in every spelling", async () => {
  const worker = await startWorker();
  const headers = { origin: "https://theia.example", "access-control-request-method": "POST" };
  for (const path of ["/api/login/simple", "/api/login/poll/abc?useCookie=true", "/socket.io"]) {
    const plain = seen(await worker.ask("OPTIONS", path, { headers }));
    expect(plain).toMatchObject({ status: 200, fields: { "access-control-allow-origin": "*" } });
    for (const spelling of spellings(path)) {
      const answer = await worker.ask("OPTIONS", spelling, { headers });
      expect([spelling, seen(answer)]).toEqual([spelling, plain]);
    }
  }
});

test("users can sign in by the paths that Theia, older IntelliJ plugins and OCT's own test request", async () => {
  const worker = await startWorker();
  for (const path of ["//api/login/simple", "/api/login/simple/"]) {
    const token = await worker.begin();
    expect(await worker.send(path, { token, user: "Ada" })).toMatchObject({ status: 200 });
    const polled = await worker.ask("POST", `//api/login/poll/${token}/`);
    expect(polled.body).toEqual({ loginToken: expect.any(String) });
  }
});

test.each(["/socket.io/", "//socket.io/", "/socket.io", "//socket.io//"])(
  "a WebSocket opens at %s",
  async (path) => {
    const worker = await startWorker();
    const handshake =
      `GET ${path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n` +
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    const raw = await connectRaw(worker.port);
    raw.write(handshake);
    expect(await raw.head()).toMatch(/^HTTP\/1\.1 101 /);
  },
);

describe("with a path in CT_SERVER_URL", () => {
  test.each([
    ["/base/api/meta", "/api/meta"],
    ["//base//api/meta/", "/api/meta"],
    ["/base/", "/"],
    ["/base", "/"],
    ["/base?x=/", "/?x=/"],
    ["/base//", "/"],
    ["/base/dashboard/", "/dashboard/"],
    ["/base/base/x", "/base/x"],
    ["/baseless/x", "/baseless/x"],
    ["/api/meta", "/api/meta"],
    ["/", "/"],
    ["/?x=//", "/?x=//"],
    ["///", "/"],
    ["/base/%2f/", "/%2f"],
  ])("the target %s is routed as %s", (url, expected) => {
    expect(readTarget(url, "/base").target).toBe(expected);
  });

  test.each([
    [`/base/k/${ROOM}/socket.io/?a=b`, "/socket.io?a=b", ROOM],
    [`/k/${ROOM}/socket.io`, "/socket.io", ROOM],
    [`//base//k//${ROOM}//api/meta`, "/api/meta", ROOM],
    [`/k/${"x".repeat(24)}/k/${ROOM}/dashboard/`, "/dashboard/", ROOM],
    [`/k/${ROOM}`, "/", ROOM],
    [`/base/k/${ROOM}?a=/`, "/?a=/", ROOM],
    ["/base/k/team/api/meta", "/k/team/api/meta", undefined],
    [`/k/${ROOM}x/api/meta`, `/k/${ROOM}x/api/meta`, undefined],
    [`/api/k/${ROOM}/meta`, `/api/k/${ROOM}/meta`, undefined],
  ])("in the target %s the worker finds a session's id in front of %s", (url, target, id) => {
    expect(readTarget(url, "/base")).toEqual({ target, sessionId: id });
  });

  test("duplicate slashes in CT_SERVER_URL itself are merged", async () => {
    const worker = await startWorker({ serverUrl: "https://edge.example.com//a//b/" });
    expect((await worker.ask("GET", "/a/b//api/meta")).status).toBe(200);
  });
});

test("only the path's slashes are merged, not those of the query", () => {
  expect(mergeSlashes("//a///b?c=//d")).toBe("/a/b?c=//d");
});

test("the canonical form of any target has no duplicate slashes, and is its own canonical form", () => {
  const target = fc
    .array(
      fc.constantFrom(
        "/",
        "//",
        "/k/",
        ROOM,
        "a",
        ".",
        "..",
        "%2f",
        "?",
        "base",
        "dashboard",
        "\\",
        ";",
      ),
    )
    .map((parts) => `/${parts.join("")}`);
  fc.assert(
    fc.property(target, fc.constantFrom("", "/base"), (url, basePath) => {
      const once = readTarget(url, basePath).target;
      expect(once.split("?")[0]).toMatch(/^\/(?!\/)(?:[^/]+\/)*[^/]*$/);
      expect(readTarget(once, "").target).toBe(once);
      // The query is the client's own.
      expect(once.split("?").slice(1)).toEqual(url.split("?").slice(1));
    }),
    { numRuns: 2000 },
  );
});

/** The bytes of the response to a target that no client library would send. */
function get(worker: Worker, target: string): Promise<string> {
  return exchange(worker.port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
}
