import { describe, expect, test } from "vitest";
import { ClientTimeoutError } from "../../../balancer/downstream/responses.ts";
import { createTrustedProxies } from "../../../balancer/http1/forwarding.ts";
import {
  accessLine,
  logTime,
  maskSecrets,
  type Served,
} from "../../../balancer/logs/access-log.ts";
import { errorLine, type Failed } from "../../../balancer/logs/error-log.ts";
import { UpstreamError } from "../../../balancer/upstreams/connection.ts";

const NO_PROXIES = createTrustedProxies([]);

function line(
  more: Partial<Served> & { with?: Record<string, string> },
  trusted = NO_PROXIES,
): string {
  const fields = Object.entries(more.with ?? {}).map(([name, value]) => ({
    name,
    lower: name.toLowerCase(),
    value,
  }));
  const valueBy = (lower: string) => fields.find((field) => field.lower === lower)?.value;
  const values = {
    referer: valueBy("referer"),
    userAgent: valueBy("user-agent"),
    authorization: valueBy("authorization"),
  };
  const served = {
    peerAddress: "192.0.2.7",
    requestLine: "GET /clients/site.xml?a=b HTTP/1.1",
    status: 200,
    bodyBytes: 512,
    ...more,
    head: { values, fields },
  };
  return accessLine(served, trusted, "25/Nov/2026:19:23:28 +0000");
}

describe("a line of access.log", () => {
  test("a line of access.log has nginx's combined format", () => {
    expect(
      line({ with: { Referer: "https://e.example/x", "User-Agent": "Mozilla/5.0 (X11)" } }),
    ).toBe(
      '192.0.2.7 - - [25/Nov/2026:19:23:28 +0000] "GET /clients/site.xml?a=b HTTP/1.1" 200 512 "https://e.example/x" "Mozilla/5.0 (X11)"\n',
    );
  });

  test("a line of access.log names the user of Basic authentication, verified or not", () => {
    const named = (user: string): string =>
      line({ with: { Authorization: `Basic ${Buffer.from(user).toString("base64")}` } });
    expect(named("ada:secret")).toMatch(/^192\.0\.2\.7 - ada \[/);
    expect(named('a "b":secret')).toMatch(/^192\.0\.2\.7 - a\\x20\\x22b\\x22 \[/);
    expect(named(":secret")).toMatch(/^192\.0\.2\.7 - - \[/);
    expect(line({ with: { Authorization: "Bearer abc" } })).toMatch(/^192\.0\.2\.7 - - \[/);
  });

  test("a line of access.log escapes what could end a part or a line, or control a terminal", () => {
    expect(
      line({ requestLine: 'GET /"\\ HTTP/1.1', with: { "User-Agent": "a\tb\x1b[31m\x7f\xe4" } }),
    ).toContain('"GET /\\x22\\x5C HTTP/1.1" 200 512 "-" "a\\x09b\\x1B[31m\\x7F\\xE4"\n');
    expect(line({ requestLine: "GET /\r\n1.2.3.4 - -" })).toContain('"GET /\\x0D\\x0A1.2.3.4 - -"');
  });

  test("a line of access.log cuts long parts", () => {
    const long = line({ with: { "User-Agent": "x".repeat(5000), Referer: '"'.repeat(5000) } });
    expect(long).toContain(`"${"x".repeat(1024)}..."`);
    expect(long).toContain(`"${"\\x22".repeat(1024)}..."`);
  });

  test("a line of access.log has the client address that a trusted proxy reports, and ignores others", () => {
    const trusted = createTrustedProxies(["10.0.0.0/8"]);
    const forwarded = { "X-Forwarded-For": "203.0.113.9, 198.51.100.4" };
    expect(line({ peerAddress: "10.1.2.3", with: forwarded }, trusted)).toMatch(
      /^198\.51\.100\.4 /,
    );
    expect(line({ with: forwarded }, trusted)).toMatch(/^192\.0\.2\.7 /);
    const forged = { "X-Forwarded-For": 'x" 200' };
    expect(line({ peerAddress: "10.1.2.3", with: forged }, trusted)).toMatch(/^10\.1\.2\.3 /);
  });

  test("a line of access.log shows only the first characters of credentials", () => {
    const shown = (target: string): string => maskSecrets(`GET ${target} HTTP/1.1`);
    expect(shown("/k/abcdefgh/api/meta")).toBe("GET /k/abcd*/api/meta HTTP/1.1");
    expect(shown("/k/abcdefgh")).toBe("GET /k/abcd* HTTP/1.1");
    expect(shown("/join/abcdefgh")).toBe("GET /join/abcd* HTTP/1.1");
    expect(shown("/base//join/abcdefgh?x")).toBe("GET /base//join/abcd*?x HTTP/1.1");
    expect(shown("/?room=abcdefgh")).toBe("GET /?room=* HTTP/1.1");
    expect(shown("/base/api/session/join/abcdefgh")).toBe(
      "GET /base/api/session/join/abcd* HTTP/1.1",
    );
    expect(shown("//api//session/join//abcdefgh")).toBe("GET //api//session/join//abcd* HTTP/1.1");
    expect(shown("/api/login/poll/abcdefgh")).toBe("GET /api/login/poll/abcd* HTTP/1.1");
    expect(shown("//k//abcdefgh//api/meta")).toBe("GET //k//abcd*//api/meta HTTP/1.1");
    expect(shown("//api//session///poll//abcdefgh/")).toBe(
      "GET //api//session///poll//abcd*/ HTTP/1.1",
    );
    expect(shown("/dashboard/api/sessions/abcdefgh/events")).toBe(
      "GET /dashboard/api/sessions/abcd*/events HTTP/1.1",
    );
    expect(shown("/socket.io/?EIO=4&sid=abcdefgh&t=1")).toBe(
      "GET /socket.io/?EIO=4&sid=*&t=1 HTTP/1.1",
    );
    expect(shown("/api/login/oauth?state=abc&code=def")).toBe(
      "GET /api/login/oauth?state=*&code=* HTTP/1.1",
    );
    expect(shown("/clients/vscode/tool-1.0.vsix?os=linux")).toBe(
      "GET /clients/vscode/tool-1.0.vsix?os=linux HTTP/1.1",
    );
  });

  test.each([
    ["a", "*"],
    ["ab", "a*"],
    ["abc", "a*"],
    ["abcd", "ab*"],
    ["abcde", "ab*"],
    ["abcdefg", "abc*"],
    ["abcdefgh", "abcd*"],
    ["%61", "%*"],
  ])(
    "a log line never shows more than half of the key %s, also in the referer and in error.log",
    (key, shown) => {
      const target = `/k/${key}/api/meta`;
      expect(line({ requestLine: `GET ${target} HTTP/1.1` })).toContain(
        `"GET /k/${shown}/api/meta `,
      );
      const referer = line({ with: { Referer: `https://e.example${target}` } });
      expect(referer).toContain(`"https://e.example/k/${shown}/api/meta"`);
      const failure: Failed = {
        error: new ClientTimeoutError(),
        status: 408,
        peerAddress: "192.0.2.7",
        requestId: "5f1c02-2s",
        requestLine: `GET ${target} HTTP/1.1`,
        host: undefined,
        worker: undefined,
      };
      expect(errorLine(failure, 0, 1)).toContain(`request: "GET /k/${shown}/api/meta HTTP/1.1"`);
    },
  );

  test("a line of access.log has the local time with its offset", () => {
    const zone = process.env["TZ"];
    try {
      process.env["TZ"] = "Asia/Kolkata";
      expect(logTime(Date.UTC(2026, 10, 5, 20, 3, 9))).toBe("06/Nov/2026:01:33:09 +0530");
      process.env["TZ"] = "America/St_Johns";
      expect(logTime(Date.UTC(2026, 0, 5, 0, 0, 0))).toBe("04/Jan/2026:20:30:00 -0330");
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });
});

describe("a line of error.log", () => {
  const failed: Failed = {
    error: new UpstreamError("refused", new Error("connect ECONNREFUSED 10.0.0.5:3001")),
    status: 502,
    peerAddress: "192.0.2.7",
    requestId: "5f1c02-2s",
    requestLine: "GET /k/abcdefgh/ HTTP/1.1",
    host: "edge.example.com",
    worker: "10.0.0.5:3001",
  };

  test("a line of error.log has nginx's format, and the request id", () => {
    expect(errorLine(failed, new Date(2026, 10, 25, 9, 3, 8).getTime(), 77)).toBe(
      "2026/11/25 09:03:08 [error] 77#0: *100 the worker cannot be reached; check that it runs and listens where its record says " +
        '(connect ECONNREFUSED 10.0.0.5:3001), client: 192.0.2.7, server: -, request: "GET /k/abcd*/ HTTP/1.1", ' +
        'upstream: "http://10.0.0.5:3001/", host: "edge.example.com", request_id: "5f1c02-2s"\n',
    );
  });

  test("a client error is logged at level info", () => {
    const late = { ...failed, error: new ClientTimeoutError(), status: 408, worker: undefined };
    expect(errorLine(late, 0, 1)).toContain(" [info] ");
    expect(errorLine(late, 0, 1)).not.toContain("upstream:");
  });
});
