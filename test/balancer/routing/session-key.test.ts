import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findRoute, type Route, routedRequest } from "../../../balancer/routing/session-key.ts";
import { newIncarnation, type WorkerId } from "../../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";

const ROOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7";
const OTHER_ROOM = "ZZZZZZZZZZZZZZZZZZZZZZZZ";
const TAG = workerTag("w1" as WorkerId, newIncarnation());
const SID = taggedId(TAG);

function route(target: string, fields: readonly [string, string][] = [], method = "GET"): Route {
  const pairs = fields.map(([name, value]) => ({ name, value }));
  return findRoute(routedRequest(method, target, pairs));
}

/** The rule and key found, as `rule:key`. */
function found(target: string, fields: readonly [string, string][] = [], method = "GET"): string {
  const { tag, key } = route(target, fields, method);
  const words: string[] = [];
  if (tag !== undefined) words.push(`${tag.rule}:${tag.tag === TAG ? "TAG" : tag.tag}`);
  if (key !== undefined) words.push(`${key.rule}:${key.key}`);
  return words.join(" ") || "none";
}

function jwt(claims: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part(claims)}.c2ln`;
}

const ROOM_TOKEN = jwt({ room: ROOM, user: { id: "u" } });
const USER_TOKEN = jwt({ id: "u", name: "n" });

describe("each rule finds its key", () => {
  test.each<[rule: string, target: string, fields: [string, string][], expected: string]>([
    ["sid", `/socket.io/?EIO=4&transport=polling&sid=${SID}`, [], "sid:TAG"],
    ["sid behind a base path", `/base/socket.io/?sid=${SID}&t=1`, [], "sid:TAG"],
    ["sid without the last slash", `/socket.io?sid=${SID}`, [], "sid:TAG"],
    ["header", "/", [["CTStickiness", "k1"]], "header:k1"],
    ["path", "/k/k1/api/meta", [], "path:k1"],
    ["room of a join", `/api/session/join/${ROOM}`, [], `room:${ROOM}`],
    ["room of a join behind a base path", `/b/api/session/join/${ROOM}?x`, [], `room:${ROOM}`],
    ["room of a join poll", `/api/session/poll/${ROOM}abcDEF123`, [], `room:${ROOM}`],
    ["token of a login poll", `/api/login/poll/${SID}?useCookie=true`, [], "token:TAG"],
    ["token of a way to sign in", `/api/login/github?token=${SID}`, [], "token:TAG"],
    ["state of a callback", `/api/login/github-callback?code=x&state=${SID}`, [], "token:TAG"],
    ["claim of the header", "/", [["x-oct-jwt", ROOM_TOKEN]], `claim:${ROOM}`],
    ["claim of the cookie", "/", [["Cookie", `a=b; oct-jwt=${ROOM_TOKEN}`]], `claim:${ROOM}`],
    ["cookie", "/", [["Cookie", "a=b; ctstickiness=k1; c=d"]], "cookie:k1"],
    ["none", "/api/meta", [["x-oct-jwt", USER_TOKEN]], "none"],
  ])("each rule finds the key of its request: %s", (_rule, target, fields, expected) => {
    expect(found(target, fields)).toBe(expected);
  });
});

describe("paths with duplicate or trailing slashes are routed like the plain path and forwarded unchanged", () => {
  test.each<[target: string, expected: string]>([
    [`//socket.io/?sid=${SID}`, "sid:TAG"],
    [`/base//socket.io//?sid=${SID}`, "sid:TAG"],
    [`//api/session/join/${ROOM}`, `room:${ROOM}`],
    [`/api//session///join//${ROOM}/`, `room:${ROOM}`],
    [`/api/session/join/${ROOM}//?x`, `room:${ROOM}`],
    [`//api/session/poll/${ROOM}abcDEF123/`, `room:${ROOM}`],
    [`//api/login/poll/${SID}/?useCookie=true`, "token:TAG"],
    [`/api/login//github/?token=${SID}`, "token:TAG"],
  ])("the path %s is routed like the plain path and forwarded unchanged", (target, expected) => {
    expect(found(target)).toBe(expected);
    expect(route(target).target).toBe(target);
  });

  test("creates, repeatable requests and sign-ins are recognised with extra slashes", () => {
    const post = (target: string) => route(target, [], "POST");
    expect(post("//api/session/create/").isCreate).toBe(true);
    expect(post("//api/login/simple").isSignIn).toBe(true);
    expect(post("/api/login/simple/")).toMatchObject({ isSignIn: true, isRepeatable: true });
    expect(post(`//api/session/poll/${ROOM}abcDEF123/`).isRepeatable).toBe(true);
    expect(post("/api/login%2fsimple").isSignIn).toBe(false);
  });

  test("a target of slashes only takes no longer than one of letters", () => {
    const time = (target: string): number => {
      const start = performance.now();
      for (let count = 0; count < 100; count++) route(target);
      return performance.now() - start;
    };
    const letters = time(`/${"a/".repeat(100_000)}`);
    expect(time("/".repeat(200_000))).toBeLessThan(letters * 20 + 20);
  });
});

describe("the first rule wins", () => {
  const all: [string, string][] = [
    ["x-oct-jwt", jwt({ room: OTHER_ROOM })],
    ["Cookie", "ctstickiness=cookie"],
  ];
  const header: [string, string] = ["ctstickiness", "header"];

  test("a sid takes precedence over all rules, and the key of the later rules is the fallback", () => {
    expect(found(`/k/path/socket.io/?sid=${SID}`, [header, ...all])).toBe("sid:TAG header:header");
    expect(found(`/k/path/socket.io/?sid=${SID}`, all)).toBe("sid:TAG path:path");
    expect(found(`/socket.io/?sid=${SID}`, all)).toBe(`sid:TAG claim:${OTHER_ROOM}`);
  });

  test("header takes precedence over path, and path over room", () => {
    expect(found(`/k/path/api/session/join/${ROOM}`, [header, ...all])).toBe("header:header");
    expect(found(`/k/path/api/session/join/${ROOM}`, all)).toBe("path:path");
    expect(found(`/api/session/join/${ROOM}`, all)).toBe(`room:${ROOM}`);
  });

  test("a login token takes precedence over claim and cookie, but not over header and path", () => {
    expect(found(`/api/login/poll/${SID}`, all)).toBe(`token:TAG claim:${OTHER_ROOM}`);
    expect(found(`/api/login/poll/${SID}`, [header])).toBe("header:header");
    expect(found(`/k/path/api/login/poll/${SID}`)).toBe("path:path");
  });

  test("the claim takes precedence over the cookie, and the token's header over its cookie", () => {
    expect(found("/", all)).toBe(`claim:${OTHER_ROOM}`);
    const both: [string, string][] = [
      ["Cookie", `oct-jwt=${ROOM_TOKEN}`],
      ["x-oct-jwt", jwt({ room: OTHER_ROOM })],
    ];
    expect(found("/", both)).toBe(`claim:${OTHER_ROOM}`);
    const user: [string, string][] = [
      ["x-oct-jwt", USER_TOKEN],
      ["Cookie", `oct-jwt=${ROOM_TOKEN}`],
    ];
    expect(found("/", user)).toBe(`claim:${ROOM}`);
  });
});

describe("a key's bytes", () => {
  test.each<[name: string, value: string, expected: string]>([
    ["stay as they are", 'a%20b+c\xe4=;,"x', 'header:a%20b+c\xe4=;,"x'],
    ["lose quotes around them", '"k1"', "header:k1"],
    ["keep a single quote", '"', 'header:"'],
    ["are absent when empty", "", "none"],
    ["are absent when only quotes", '""', "none"],
    ["are absent when quotes hide blanks at the ends", '" k"', "none"],
    ["may be 8192", "k".repeat(8192), `header:${"k".repeat(8192)}`],
    ["may not be 8193", "k".repeat(8193), "none"],
  ])("the bytes of a key %s", (_name, value, expected) => {
    expect(found("/", [["ctstickiness", value]])).toBe(expected);
  });

  test("the first header with a valid key counts", () => {
    expect(
      found("/", [
        ["ctstickiness", ""],
        ["ctstickiness", "b"],
        ["ctstickiness", "c"],
      ]),
    ).toBe("header:b");
  });
});

describe("the path prefix", () => {
  test.each<[target: string, expected: string, forwarded: string]>([
    ["/k/K/a/b?c=d", "path:K", "/a/b?c=d"],
    ["/k/K/", "path:K", "/"],
    ["/k/K", "path:K", "/"],
    ["/k/K?x=y", "path:K", "/?x=y"],
    ["/k/K//a", "path:K", "//a"],
    ["/k/a%20b%2Fc/x", "path:a b/c", "/x"],
    ["/k/%e4%ff/x", "path:\xe4\xff", "/x"],
    ["/k/a%2520/x", "path:a%20", "/x"],
    ["/k/%22q%22/x", "path:q", "/x"],
    ["/k/K/k/L/x", "path:K", "/k/L/x"],
    // Clients join a base URL and a path with superfluous slashes.
    ["//k/K/a", "path:K", "/a"],
    ["/k//K//a//b/?c=//d", "path:K", "//a//b/?c=//d"],
    ["///k///K", "path:K", "/"],
    ["/k//x", "path:x", "/"],
    // Not a prefix: the path is unchanged.
    ["/k/", "none", "/k/"],
    ["/k//", "none", "/k//"],
    ["//k", "none", "//k"],
    ["/k/?a=/b", "none", "/k/?a=/b"],
    ["/%2fk/K/a", "none", "/%2fk/K/a"],
    ["/k%2fK/a", "none", "/k%2fK/a"],
    ["/k", "none", "/k"],
    ["/kk/K/x", "none", "/kk/K/x"],
    ["/K/K/x", "none", "/K/K/x"],
    ["/k/%zz/x", "none", "/k/%zz/x"],
    ["/k/a%2/x", "none", "/k/a%2/x"],
    ["/k/a%/x", "none", "/k/a%/x"],
    ["/k/a%0d%0ab/x", "none", "/k/a%0d%0ab/x"],
    ["/k/%00/x", "none", "/k/%00/x"],
    ["/k/%20a/x", "none", "/k/%20a/x"],
    [`/k/${"k".repeat(8193)}/x`, "none", `/k/${"k".repeat(8193)}/x`],
  ])(
    "the target %s has the key of its path prefix, if that is valid, and is forwarded without it",
    (target, expected, forwarded) => {
      expect(found(target)).toBe(expected);
      expect(route(target).target).toBe(forwarded);
    },
  );

  test("the path prefix is stripped even when a header has the key", () => {
    expect(route("/k/K/x", [["ctstickiness", "h"]]).target).toBe("/x");
  });

  test("the path prefix is stripped before the other rules read the path", () => {
    expect(found(`/k/%00/api/session/join/${ROOM}`)).toBe(`room:${ROOM}`);
    expect(found(`/k/K/socket.io/?sid=${SID}`)).toBe("sid:TAG path:K");
  });
});

describe("invalid ids and tokens are ignored", () => {
  test.each<[name: string, target: string]>([
    ["a sid without tag", "/socket.io/?sid=abcdefghijklmnopqrst"],
    ["a sid on another path", `/api/meta?sid=${SID}`],
    ["a parameter whose name only ends in sid", `/socket.io/?xsid=${SID}`],
    ["a parameter whose name only begins with sid", `/socket.io/?sidx=${SID}`],
    ["a room that is too short", `/api/session/join/${ROOM.slice(1)}`],
    ["a room that is too long", `/api/session/join/${ROOM}x`],
    ["a room with a bad character", `/api/session/join/${ROOM.slice(1)}-`],
    ["a room with something behind", `/api/session/join/${ROOM}/x`],
    ["a room on another path", `/api/session/leave/${ROOM}`],
    ["a room in an invitation, whose page any worker serves", `/join/${ROOM}`],
    ["a room in an invitation's query", `/?room=${ROOM}`],
    ["a poll token that is only a room", `/api/session/poll/${ROOM}`],
    ["a poll token that is too long", `/api/session/poll/${ROOM}${"x".repeat(300)}`],
    ["a login token without tag", "/api/login/poll/abcdefghijklmnopqrstuvwx"],
    ["a state on another path", `/api/meta?state=${SID}`],
    ["an encoded slash", `/api/session/join%2F${ROOM}`],
  ])("%s gives no key to route by", (_name, target) => {
    expect(found(target)).toBe("none");
  });

  test("the first sid with a tag counts", () => {
    expect(
      found(`/socket.io/?sid=&sid=zz&sid=${SID}&sid=${taggedId("0123456789abcdef" as typeof TAG)}`),
    ).toBe("sid:TAG");
  });
});

describe("invalid claims are ignored", () => {
  const bare = (payload: string) => `e30.${Buffer.from(payload).toString("base64url")}.x`;
  test.each<[name: string, token: string]>([
    ["no JWT", "abc"],
    ["two parts", "e30.e30"],
    ["no base64", "e30.***.x"],
    ["no JSON", bare("{")],
    ["null", bare("null")],
    ["a string", bare('"room"')],
    ["an array", bare("[1]")],
    ["a room that is no id", jwt({ room: "x" })],
    ["a room that is an object", jwt({ room: { toString: ROOM } })],
    ["a room of the prototype", bare(`{"__proto__":{"room":"${ROOM}"}}`)],
    ["too long a token", jwt({ room: ROOM, pad: "x".repeat(8192) })],
    ["JSON that is nested deep", bare("[".repeat(6000))],
  ])("a claim is ignored when its token is %s", (_name, token) => {
    expect(found("/", [["x-oct-jwt", token]])).toBe("none");
    expect(
      found("/", [
        ["x-oct-jwt", token],
        ["x-oct-jwt", ROOM_TOKEN],
      ]),
    ).toBe(`claim:${ROOM}`);
  });
});

describe("cookies", () => {
  test.each<[name: string, cookies: string[], expected: string]>([
    ["the first one counts", ["ctstickiness=a; ctstickiness=b"], "cookie:a"],
    ["over several fields", ["x=y", "ctstickiness=b", "ctstickiness=c"], "cookie:b"],
    ["an empty one is absent", ["ctstickiness=; ctstickiness=b"], "cookie:b"],
    ["quotes are removed", ['ctstickiness="a b"'], "cookie:a b"],
    ["the value may hold an equals sign", ["ctstickiness=a=b=="], "cookie:a=b=="],
    ["names are compared exactly", ["CTSTICKINESS=a; xctstickiness=b; ctstickinessx=c"], "none"],
    ["blanks around do not matter", ["  ctstickiness = a ;x=y"], "cookie:a"],
    ["without equals sign it is none", ["ctstickiness"], "none"],
  ])("the key is found among the cookies of a request: %s", (_name, cookies, expected) => {
    expect(
      found(
        "/",
        cookies.map((cookie) => ["Cookie", cookie]),
      ),
    ).toBe(expected);
  });

  test("a create ignores the cookie, but not a header or a path", () => {
    const cookie: [string, string] = ["Cookie", "ctstickiness=old"];
    expect(found("/api/session/create", [cookie], "POST")).toBe("none");
    expect(found("/api/session/create", [cookie], "GET")).toBe("cookie:old");
    expect(found("/api/session/create", [cookie, ["ctstickiness", "new"]], "POST")).toBe(
      "header:new",
    );
    expect(found("/k/new/api/session/create", [cookie], "POST")).toBe("path:new");
    expect(route("/k/new/api/session/create", [], "POST").isCreate).toBe(true);
    expect(route("/api/session/create", [], "GET").isCreate).toBe(false);
  });
});

test("no target and no field value makes findRoute throw", () => {
  const field = fc.tuple(
    fc.constantFrom("ctstickiness", "cookie", "x-oct-jwt", "__proto__"),
    fc.oneof(fc.string(), fc.constantFrom("ctstickiness=", "oct-jwt=a.b.c", ";;;=;", ROOM_TOKEN)),
  );
  const part = fc.oneof(
    fc.constantFrom(
      "/k/",
      "/",
      "?",
      "&",
      "sid=",
      SID,
      "%",
      "%41",
      "/socket.io/",
      "/api/session/join/",
      ROOM,
    ),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 10 }),
      fc.array(field, { maxLength: 5 }),
      (parts, fields) => {
        const target = `/${parts.join("")}`;
        const result = route(target, fields);
        expect(result.target.startsWith("/")).toBe(true);
        expect(
          target.endsWith(result.target) || result.target === "/" || result.target.startsWith("/?"),
        ).toBe(true);
      },
    ),
  );
});

test.each([
  ["GET", "/anything", true],
  ["DELETE", "/anything", true],
  ["POST", "/api/login/poll/abc?useCookie=true", true],
  ["POST", `/k/K/api/session/poll/${ROOM}abc`, true],
  ["POST", "/api/login/validate", true],
  ["POST", "/api/session/create", false],
  ["POST", `/api/session/join/${ROOM}`, false],
  ["POST", "/api/login/initial", true],
  ["POST", "/api/login/simple", true],
  ["POST", "/api/login/simple/x", false],
  ["POST", "/socket.io/?sid=x", false],
  ["PATCH", "/api/login/validate", false],
])("%s %s may be sent twice: %s", (method, target, repeatable) => {
  expect(route(target, [], method).isRepeatable).toBe(repeatable);
});

test.each([
  ["GET", "/socket.io/?EIO=4&transport=polling", "handshakes"],
  ["GET", "/socket.io/?EIO=4&transport=polling&sid=", "handshakes"],
  ["GET", "/socket.io/?sid=&EIO=4", "handshakes"],
  ["GET", "/socket.io/?EIO=4&sid=x", undefined],
  ["OPTIONS", "/socket.io/?EIO=4&transport=polling", undefined],
  ["POST", "/socket.io/?EIO=4&transport=polling", undefined],
  ["POST", "/api/session/create", "creates"],
  ["POST", `/api/session/join/${ROOM}`, "joins"],
  ["POST", "/api/login/initial", "logins"],
  ["GET", "/api/meta", undefined],
])("the request %s %s is recognised by what it begins: %s", (method, target, kind) => {
  expect(route(target, [], method).kind).toBe(kind);
});
