/** Responses of workers: bad framing never reaches a client, and a truncated body never looks complete. */
import { type Answer, answered, type Case, get, head, ok, played, type Subject } from "../case.ts";
import { readAnswers } from "../messages.ts";
import { reset as resetConnection } from "../stage.ts";

/** The client gets 502 instead. */
function bad(
  name: string,
  source: string,
  answer: string | Answer,
  more: Partial<Case> = {},
): Case {
  return answered(name, source, answer, { status: 502, leaves: "any", ...more });
}

/** The client can detect that the response is incomplete. */
function cut(name: string, source: string, answer: Answer, more: Partial<Case> = {}): Case {
  const { client: _, ...one } = answered(name, source, answer, {
    client: [],
    leaves: "cut",
    ...more,
  });
  return one;
}

const end = (bytes: string): Answer => ({ bytes, closes: "end" });
const reset = (bytes: string): Answer => ({ bytes, closes: "reset" });
const TE = "Transfer-Encoding: chunked";
const chunkedOk = (body: string, ...fields: string[]): string =>
  head("HTTP/1.1 200 OK", TE, ...fields) + body;

const cases: Case[] = [
  // --- invalid heads ---
  bad("no HTTP", "RFC 9112 §4", end("hello\r\n\r\n")),
  bad("HTTP/0.9", "RFC 9112 §4", end("<html></html>")),
  bad("another protocol's name", "RFC 9112 §4", end("ICY 200 OK\r\n\r\n"), { kind: "choice" }),
  bad("HTTP/2.0", "RFC 9112 §2.3", end("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")),
  bad("HTTP/1.2", "RFC 9112 §2.3", end("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"), {
    kind: "choice",
  }),
  bad("a status of two digits", "RFC 9110 §15", end("HTTP/1.1 20 OK\r\n\r\n")),
  bad("a status of four digits", "RFC 9110 §15", end("HTTP/1.1 2000 OK\r\n\r\n")),
  bad("a status of letters", "RFC 9110 §15", end("HTTP/1.1 abc OK\r\n\r\n")),
  bad("status 000", "RFC 9110 §15", end("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"), {
    kind: "choice",
  }),
  bad(
    "status 600",
    "RFC 9110 §15: 100 to 599",
    end("HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
    { kind: "choice" },
  ),
  bad(
    "a control byte in the reason",
    "RFC 9112 §4",
    end("HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
    { kind: "choice" },
  ),
  bad(
    "a bare CR in the reason",
    "bug class: answer splitting",
    end("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
  ),
  bad("bare LFs", "RFC 9112 §2.2", end("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), {
    kind: "choice",
  }),
  bad(
    "a space before a colon",
    "RFC 9112 §5.1: remove or refuse",
    end("HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx"),
    { kind: "choice" },
  ),
  bad(
    "a folded field",
    "RFC 9112 §5.2: refuse or unfold",
    end("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    { kind: "choice" },
  ),
  bad(
    "a field without colon",
    "RFC 9112 §5",
    end("HTTP/1.1 200 OK\r\nfield\r\nContent-Length: 0\r\n\r\n"),
    { kind: "choice" },
  ),
  bad(
    "NUL in a value",
    "RFC 9110 §5.5",
    end("HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n"),
  ),
  bad(
    "a bare CR in a value",
    "bug class: answer splitting",
    end("HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n"),
  ),
  bad(
    "a head without an end",
    "policy: limits",
    end(`HTTP/1.1 200 OK\r\n${"A: bbbbbbbbbbbbbbbb\r\n".repeat(4000)}`),
  ),
  bad("a truncated head", "RFC 9112 §8", end("HTTP/1.1 200 OK\r\nContent-Le")),
  bad("nothing before the end", "RFC 9112 §8", end("")),
  bad("nothing before a reset", "RFC 9112 §8", reset("")),

  // --- framing ---
  bad(
    "length and chunks",
    "RFC 9112 §6.3: must be an error or handled as one",
    end(head("HTTP/1.1 200 OK", "Content-Length: 3", TE).concat("0\r\n\r\n")),
    { kind: "choice" },
  ),
  bad(
    "two lengths",
    "RFC 9112 §6.3 ¶5",
    end(head("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2").concat("xy")),
  ),
  bad(
    "the same length twice",
    "RFC 9112 §6.3 ¶5: refuse or take one",
    end(head("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 1").concat("x")),
    { kind: "choice" },
  ),
  ...["+1", "-1", "0x1", "1, 2", "1 1", "abc", "99999999999999999999", "1\x0b"].map((value) =>
    bad(
      `Content-Length ${JSON.stringify(value)}`,
      "RFC 9112 §6.3 ¶5",
      end(head("HTTP/1.1 200 OK", `Content-Length: ${value}`).concat("x")),
    ),
  ),
  ...[
    "gzip, chunked",
    "chunked, chunked",
    "identity",
    "xchunked",
    "chunked;a=b",
    "\x0bchunked",
  ].map((value) =>
    bad(
      `Transfer-Encoding ${JSON.stringify(value)}`,
      "RFC 9112 §6.1",
      end(head("HTTP/1.1 200 OK", `Transfer-Encoding: ${value}`).concat("0\r\n\r\n")),
      {
        ...(value === "gzip, chunked" && { kind: "choice" as const }),
      },
    ),
  ),
  bad(
    "chunks in HTTP/1.0",
    "RFC 9112 §6.1: treat as faulty",
    end(head("HTTP/1.0 200 OK", TE).concat("0\r\n\r\n")),
    { kind: "choice" },
  ),

  // --- truncated bodies ---
  cut(
    "a body shorter than its length",
    "RFC 9112 §8",
    end(head("HTTP/1.1 200 OK", "Content-Length: 10").concat("half")),
  ),
  cut(
    "a body reset before its length",
    "RFC 9112 §8",
    reset(head("HTTP/1.1 200 OK", "Content-Length: 10").concat("half")),
  ),
  cut("chunks without the last one", "RFC 9112 §8", end(chunkedOk("4\r\nhalf\r\n"))),
  cut("a truncated chunk", "RFC 9112 §8", end(chunkedOk("a\r\nhalf"))),
  cut("a last chunk without the empty line", "RFC 9112 §8", end(chunkedOk("4\r\nhalf\r\n0\r\n"))),
  cut("chunks before a reset", "RFC 9112 §8", reset(chunkedOk("4\r\nhalf\r\n"))),
  cut("chunks of garbage", "RFC 9112 §7.1", end(chunkedOk("4\r\nhalf\r\nzz\r\nmore"))),
  cut(
    "a signed chunk size",
    "RFC 9112 §7.1",
    end(chunkedOk("4\r\nhalf\r\n+4\r\nmore\r\n0\r\n\r\n")),
  ),
  cut("a chunk longer than its size", "RFC 9112 §7.1", end(chunkedOk("4\r\nhalfx\r\n0\r\n\r\n"))),
  cut(
    "a chunk size beyond 2^64",
    "RFC 9112 §7.1",
    end(chunkedOk("4\r\nhalf\r\nffffffffffffffffff\r\nx")),
  ),
  cut(
    "a malformed trailer",
    "RFC 9112 §7.1.2",
    end(chunkedOk("4\r\nhalf\r\n0\r\nno colon\r\n\r\n")),
    { kind: "choice" },
  ),
  played("a reset in a body that is framed by the end", "RFC 9112 §8", async (stage) => {
    const { client, worker } = await stage.exchange(get());
    worker.write(head("HTTP/1.1 200 OK").concat("half"));
    await client.has("half");
    resetConnection(worker.raw);
    await client.end();
    const [answer] = readAnswers(client.text, ["GET"], true);
    stage.check(client.error !== undefined || answer?.complete === false, "it looks complete");
  }),

  // --- valid responses ---
  answered("a length", "RFC 9112 §6.2", ok("body"), {
    status: 200,
    body: "body",
    has: ["Content-Length: 4"],
  }),
  answered("chunks", "RFC 9112 §7.1", chunkedOk("4\r\nbody\r\n0\r\n\r\n"), {
    status: 200,
    body: "body",
    lacks: ["content-length"],
  }),
  answered(
    "chunks with extensions",
    "RFC 9112 §7.1.1",
    chunkedOk('4;a=b;c="d"\r\nbody\r\n0;e\r\n\r\n'),
    { status: 200, body: "body" },
  ),
  answered(
    "a body framed by the end of the connection",
    "RFC 9112 §6.3 ¶8",
    end(head("HTTP/1.1 200 OK").concat("all")),
    { status: 200, body: "all", leaves: "closed", kind: "choice" },
  ),
  answered(
    "HTTP/1.0 without a length",
    "RFC 9112 §6.3 ¶8",
    end(head("HTTP/1.0 200 OK").concat("all")),
    { status: 200, body: "all", leaves: "closed", kind: "choice" },
  ),
  answered(
    "HTTP/1.0 with a length",
    "RFC 9112 §9.3",
    end(head("HTTP/1.0 200 OK", "Content-Length: 3").concat("all")),
    { status: 200, body: "all" },
  ),
  answered(
    "HTTP/1.0 with Trailer",
    "bug: ends http-proxy's process",
    end(head("HTTP/1.0 200 OK", "Trailer: X", "Content-Length: 3").concat("all")),
    { status: 200, body: "all" },
  ),
  answered("an empty reason", "RFC 9112 §4", head("HTTP/1.1 200 ", "Content-Length: 0"), {
    status: 200,
  }),
  answered(
    "no space after the status",
    "RFC 9112 §4: robustness of clients",
    end("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    { status: [200, 502] },
  ),
  ...[201, 206, 299, 301, 400, 404, 418, 451, 500, 503, 599].map((status) =>
    answered(
      `status ${status}`,
      "RFC 9110 §15",
      head(`HTTP/1.1 ${status} X`, "Content-Length: 2").concat("xy"),
      { status, body: "xy" },
    ),
  ),
  answered("204 has no body", "RFC 9110 §15.3.5", head("HTTP/1.1 204 No Content"), {
    status: 204,
    lacks: ["content-length", "transfer-encoding"],
  }),
  answered(
    "204 with a length of 0",
    "RFC 9110 §8.6: must not be sent",
    end(head("HTTP/1.1 204 No Content", "Content-Length: 0")),
    { status: 204, lacks: ["content-length"], kind: "choice" },
  ),
  answered(
    "204 with chunks",
    "RFC 9112 §6.1: must not be sent",
    end(head("HTTP/1.1 204 No Content", TE).concat("0\r\n\r\n")),
    { status: 204, lacks: ["transfer-encoding"] },
  ),
  answered(
    "205 without a body",
    "RFC 9110 §15.3.6",
    head("HTTP/1.1 205 Reset Content", "Content-Length: 0"),
    { status: 205 },
  ),
  answered(
    "304 with the length of the full response",
    "RFC 9110 §15.4.5",
    head("HTTP/1.1 304 Not Modified", "Content-Length: 10", 'ETag: "e"'),
    { status: 304, has: ['ETag: "e"'] },
  ),
  answered("304 without a length", "RFC 9110 §15.4.5", head("HTTP/1.1 304 Not Modified"), {
    status: 304,
  }),
  answered("HEAD with a length", "RFC 9110 §9.3.2", head("HTTP/1.1 200 OK", "Content-Length: 10"), {
    status: 200,
    has: ["Content-Length: 10"],
    sends: head("HEAD / HTTP/1.1", "Host: h"),
  }),
  answered("HEAD with announced chunks", "RFC 9112 §6.1", head("HTTP/1.1 200 OK", TE), {
    status: 200,
    sends: head("HEAD / HTTP/1.1", "Host: h"),
  }),
  answered("HEAD without a length", "RFC 9110 §9.3.2", head("HTTP/1.1 200 OK"), {
    status: 200,
    sends: head("HEAD / HTTP/1.1", "Host: h"),
  }),
  answered("HEAD with a forbidden body", "RFC 9110 §9.3.2", end(ok("body")), {
    status: 200,
    sends: head("HEAD / HTTP/1.1", "Host: h"),
  }),
  answered(
    "fields, including repeated ones, in their order",
    "RFC 9110 §5.3",
    ok("", "Set-Cookie: a=1", "X: y", "Set-Cookie: b=2"),
    { status: 200, has: ["Set-Cookie: a=1", "Set-Cookie: b=2", "X: y"] },
  ),
  answered("__proto__ as name", "CVE-2026-21710", ok("", "__proto__: x"), {
    status: 200,
    has: ["__proto__: x"],
  }),
  answered("high bytes in a value", "RFC 9110 §5.5", ok("", "X: \xe4\xff"), {
    status: 200,
    has: ["X: \xe4\xff"],
  }),
  answered(
    "every byte value in a body",
    "RFC 9110 §6.4",
    ok(Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join("")),
    {
      status: 200,
      body: Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join(""),
    },
  ),
  answered(
    "x-ct-* fields of workers do not reach clients",
    "policy: words between balancer and worker",
    ok("", "x-ct-session: s", "x-ct-epoch: 1", "x-ct-owner: w"),
    { status: 200, lacks: ["x-ct-session", "x-ct-epoch", "x-ct-owner"], kind: "own" },
  ),
  answered("no chunks to HTTP/1.0", "RFC 9112 §7.1", chunkedOk("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), {
    status: 200,
    body: "abc",
    lacks: ["transfer-encoding"],
    sends: "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    leaves: "closed",
  }),
  answered(
    "no chunks to HTTP/1.0 that keeps its connection",
    "RFC 9112 §7.1",
    chunkedOk("2\r\nab\r\n0\r\n\r\n"),
    {
      status: 200,
      body: "ab",
      lacks: ["transfer-encoding"],
      sends: "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
      leaves: "closed",
    },
  ),
  played("parts are forwarded as they arrive", "policy: aborts and backpressure", async (stage) => {
    const { client, worker } = await stage.exchange(get());
    worker.write(chunkedOk("5\r\nfirst\r\n"));
    await client.has("first");
    worker.write("6\r\nsecond\r\n");
    await client.has("second");
    worker.write("0\r\n\r\n");
    const [answer] = await stage.answersCome(client, 1);
    stage.check(answer?.body === "firstsecond", `got ${client.text}`);
  }),
  played("a response byte by byte", "RFC 9112 §2.2", async (stage) => {
    const { client, worker } = await stage.exchange(get());
    for (const byte of chunkedOk("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")) {
      worker.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [answer] = await stage.answersCome(client, 1);
    stage.check(answer?.body === "hello", `got ${client.text}`);
  }),
];

export const answers: Subject = { name: "a response:", cases };
