/** Limits: large enough for legitimate clients, with a response that names the exceeded limit. */
import {
  answered,
  type Case,
  chunked,
  forwarded,
  get,
  head,
  ok,
  played,
  refused,
  type Subject,
} from "../case.ts";

const cases: Case[] = [
  forwarded(
    "a target of 8,000 bytes",
    "policy: limits",
    head(`GET /${"a".repeat(7999)} HTTP/1.1`, "Host: h"),
    { line: `GET /${"a".repeat(7999)} HTTP/1.1`, kind: "choice" },
  ),
  refused(
    "a target of 9,000 bytes",
    "policy: limits, RFC 9110 §15.5.15",
    head(`GET /${"a".repeat(9000)} HTTP/1.1`, "Host: h"),
    { status: 414, kind: "choice" },
  ),
  refused("a request line without an end", "policy: limits", `GET /${"a".repeat(70_000)}`, {
    status: [414, 400],
    kind: "choice",
  }),
  forwarded(
    "a head of 12 KiB",
    "policy: limits",
    get(`A: ${"v".repeat(6000)}`, `B: ${"v".repeat(6000)}`),
    {
      has: [`B: ${"v".repeat(6000)}`],
    },
  ),
  refused(
    "a head of 40 KiB",
    "policy: limits, RFC 6585 §5",
    get(...Array.from({ length: 40 }, (_, i) => `X-${i}: ${"v".repeat(1000)}`)),
    { status: [431, 400] },
  ),
  refused("one field of 40 KiB", "policy: limits, RFC 6585 §5", get(`A: ${"v".repeat(40_000)}`), {
    status: [431, 400],
  }),
  refused(
    "a head without an end",
    "policy: limits",
    `GET / HTTP/1.1\r\nHost: h\r\n${"A: bbbbbbbbbbbbbbbb\r\n".repeat(4000)}`,
    { status: [431, 400] },
  ),
  forwarded(
    "100 fields",
    "policy: limits",
    get(...Array.from({ length: 95 }, (_, i) => `X-${i}: y`)),
    { has: ["X-94: y"] },
  ),
  refused(
    "300 fields",
    "policy: limits: none is dropped in silence",
    get(...Array.from({ length: 300 }, (_, i) => `X-${i}: y`)),
    { status: [431, 400], kind: "choice" },
  ),
  refused(
    "2,000 fields",
    "policy: limits: node drops those above 1,000",
    get(...Array.from({ length: 2000 }, () => "X: y")),
    { status: [431, 400], kind: "choice" },
  ),
  forwarded(
    "a body of 1 MiB",
    "policy: aborts and backpressure",
    `${head("PUT / HTTP/1.1", "Host: h", "Content-Length: 1048576")}${"x".repeat(1_048_576)}`,
    { body: "x".repeat(1_048_576) },
  ),
  answered("a response of 1 MiB", "policy: aborts and backpressure", ok("y".repeat(1_048_576)), {
    status: 200,
    body: "y".repeat(1_048_576),
  }),
  answered(
    "a response head of 12 KiB",
    "policy: limits",
    ok("", `A: ${"v".repeat(6000)}`, `B: ${"v".repeat(6000)}`),
    { status: 200, has: [`A: ${"v".repeat(6000)}`], kind: "choice" },
  ),
  answered(
    "a response head of 100 KiB",
    "policy: limits",
    ok("", ...Array.from({ length: 100 }, (_, i) => `X-${i}: ${"v".repeat(1000)}`)),
    { status: 502 },
  ),
  played(
    "trailers of 20 KiB",
    "policy: limits",
    async (stage) => {
      const client = await stage.send(
        chunked(`0\r\n${`X: ${"v".repeat(1000)}\r\n`.repeat(20)}\r\n`),
      );
      await client.end();
      stage.check(!client.text.startsWith("HTTP/1.1 2"), `got ${client.text.slice(0, 60)}`);
    },
    { kind: "choice" },
  ),
  played(
    "a cookie with thousands of pairs is parsed fast",
    "CVE-2024-37890: slow fields",
    async (stage) => {
      const client = await stage.client();
      const startMs = performance.now();
      client.write(get(`Cookie: ${"a=b; ".repeat(1400)}ctstickiness=x`));
      await stage.answersCome(client, 1);
      stage.check(performance.now() - startMs < 1000, "took more than a second");
    },
  ),
  played(
    "a field with thousands of spaces is parsed fast",
    "bug class: quadratic trimming",
    async (stage) => {
      const client = await stage.client();
      const startMs = performance.now();
      client.write(get(`A: b${" ".repeat(7000)}c`, `B:${"\t".repeat(7000)}`));
      await stage.answersCome(client, 1);
      stage.check(performance.now() - startMs < 1000, "took more than a second");
    },
  ),
];

export const limits: Subject = { name: "a limit:", cases };

const slowCases: Case[] = [
  played("a connection without a head is closed", "policy: time limits", async (stage) => {
    const client = await stage.client();
    await client.end();
    stage.check(stage.workerBytes === "", "a worker got something");
  }),
  played(
    "a head that stalls gets 408 or the end",
    "policy: time limits, RFC 9110 §15.5.9",
    async (stage) => {
      const client = await stage.send("GET / HTTP/1.1\r\nHost: h\r\n");
      await client.end();
      stage.check(
        client.text === "" || client.text.startsWith("HTTP/1.1 408 "),
        `got ${client.text}`,
      );
    },
  ),
  played("a body that stalls gets 408 or the end", "policy: time limits", async (stage) => {
    const client = await stage.send(
      `${head("POST / HTTP/1.1", "Host: h", "Content-Length: 10")}half`,
    );
    await client.end();
    stage.check(
      client.text === "" || /^HTTP\/1\.[01] (408|400)/.test(client.text),
      `got ${client.text}`,
    );
  }),
  played("a chunk that stalls gets 408 or the end", "policy: time limits", async (stage) => {
    const client = await stage.send(chunked("a\r\nhalf"));
    await client.end();
    stage.check(
      client.text === "" || /^HTTP\/1\.[01] (408|400)/.test(client.text),
      `got ${client.text}`,
    );
  }),
  played(
    "an idle connection is closed without a response",
    "policy: time limits",
    async (stage) => {
      const { client } = await stage.ask(get());
      client.text = "";
      await client.end();
      stage.check(client.text === "", `got ${client.text}`);
    },
  ),
  played(
    "a worker that does not respond results in 504",
    "policy: time limits, RFC 9110 §15.6.5",
    async (stage) => {
      stage.answersByHand();
      const client = await stage.send(get());
      await client.has("\r\n\r\n");
      stage.check(client.text.startsWith("HTTP/1.1 504 "), `got ${client.text}`);
      const worker = await stage.connection(0);
      await worker.raw.end();
    },
  ),
  played("a response that stalls is cut", "policy: time limits", async (stage) => {
    stage.answersByHand();
    const client = await stage.send(get());
    await stage.requestsCome(1);
    (await stage.connection(0)).write(head("HTTP/1.1 200 OK", "Content-Length: 10").concat("half"));
    await client.end();
    stage.check(client.text.endsWith("half"), `got ${client.text}`);
  }),
];

export const timeouts: Subject = { name: "a timeout:", timeoutMs: 300, cases: slowCases };
