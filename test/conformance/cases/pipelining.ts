/** Several requests on one connection (RFC 9112 §9.3): each gets its own response, in order. */
import { type Case, chunked, get, head, ok, played, post, type Subject } from "../case.ts";

const ask = (path: string, ...fields: string[]): string =>
  head(`GET ${path} HTTP/1.1`, "Host: h", ...fields);
const numbered = ["one", "two", "three", "four", "five"].map((body) => ({ bytes: ok(body) }));

/** A pipeline, with the bodies of its responses and the request lines at the workers. */
function pipeline(
  name: string,
  source: string,
  sends: string | readonly string[],
  bodies: readonly string[],
  seen: readonly string[],
  more: Partial<Case> = {},
): Case {
  return {
    name,
    source,
    kind: "rule",
    sends,
    answers: numbered,
    worker: seen.map((line) => ({ line })),
    client: bodies.map((body) => ({ status: 200, body })),
    leaves: "open",
    ...more,
  };
}

const cases: Case[] = [
  pipeline(
    "two in one segment",
    "RFC 9112 §9.3.2",
    ask("/1") + ask("/2"),
    ["one", "two"],
    ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"],
  ),
  pipeline(
    "five in one segment",
    "RFC 9112 §9.3.2",
    ["/1", "/2", "/3", "/4", "/5"].map((path) => ask(path)).join(""),
    ["one", "two", "three", "four", "five"],
    ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1", "GET /4 HTTP/1.1", "GET /5 HTTP/1.1"],
  ),
  pipeline(
    "split within the second head",
    "RFC 9112 §9.3.2",
    [`${ask("/1")}GET /2 HT`, "TP/1.1\r\nHost: h\r\n\r\n"],
    ["one", "two"],
    ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"],
  ),
  pipeline(
    "after a body",
    "RFC 9112 §6.2",
    post("abcd", "Content-Length: 4") + ask("/2"),
    ["one", "two"],
    ["POST / HTTP/1.1", "GET /2 HTTP/1.1"],
    { methods: ["POST", "GET"] },
  ),
  pipeline(
    "after chunks",
    "RFC 9112 §7.1",
    chunked("2\r\nab\r\n0\r\n\r\n") + ask("/2"),
    ["one", "two"],
    ["POST / HTTP/1.1", "GET /2 HTTP/1.1"],
  ),
  pipeline(
    "after chunks with trailers",
    "RFC 9112 §7.1.2",
    chunked("2\r\nab\r\n0\r\nX: y\r\n\r\n") + ask("/2"),
    ["one", "two"],
    ["POST / HTTP/1.1", "GET /2 HTTP/1.1"],
  ),
  pipeline(
    "with an empty line between them",
    "RFC 9112 §2.2",
    `${post("abcd", "Content-Length: 4")}\r\n${ask("/2")}`,
    ["one", "two"],
    ["POST / HTTP/1.1", "GET /2 HTTP/1.1"],
  ),
  pipeline(
    "requests after close are ignored",
    "RFC 9112 §9.6",
    ask("/1", "Connection: close") + ask("/2"),
    ["one"],
    ["GET /1 HTTP/1.1"],
    { leaves: "closed" },
  ),
  pipeline(
    "requests after HTTP/1.0 are ignored",
    "RFC 9112 §9.3",
    head("GET /1 HTTP/1.0", "Host: h") + ask("/2"),
    ["one"],
    ["GET /1 HTTP/1.1"],
    { leaves: "closed" },
  ),
  {
    name: "an invalid request after a valid one gets 400 after the valid response",
    source: "RFC 9112 §9.3.2",
    kind: "rule",
    sends: ask("/1") + head("GET /2 HTTP/1.1"),
    answers: numbered,
    worker: [{ line: "GET /1 HTTP/1.1" }],
    client: [{ status: 200, body: "one" }, { status: 400 }],
    leaves: "closed",
  },
  {
    name: "requests after an invalid one are ignored",
    source: "RFC 9112 §11.2",
    kind: "rule",
    sends: head("GET /1 HTTP/1.1") + ask("/2"),
    worker: "nothing",
    client: [{ status: 400 }],
    leaves: "closed",
  },
  {
    name: "HEAD and GET",
    source: "RFC 9110 §9.3.2",
    kind: "rule",
    sends: head("HEAD /1 HTTP/1.1", "Host: h") + ask("/2"),
    methods: ["HEAD", "GET"],
    answers: [{ bytes: head("HTTP/1.1 200 OK", "Content-Length: 100") }, { bytes: ok("two") }],
    client: [{ status: 200 }, { status: 200, body: "two" }],
    leaves: "open",
  },
  {
    name: "204 and 304 and a body",
    source: "RFC 9112 §6.3",
    kind: "rule",
    sends: ask("/1") + ask("/2") + ask("/3"),
    answers: [
      { bytes: head("HTTP/1.1 204 No Content") },
      { bytes: head("HTTP/1.1 304 Not Modified", "Content-Length: 100") },
      { bytes: ok("three") },
    ],
    client: [{ status: 204 }, { status: 304 }, { status: 200, body: "three" }],
    leaves: "open",
  },
  played("the first response comes first, even if it is slow", "RFC 9112 §9.3.2", async (stage) => {
    stage.answersByHand();
    const client = await stage.send(ask("/1") + ask("/2"));
    await stage.requestsCome(1);
    const first = await stage.connection(0);
    first.write(head("HTTP/1.1 200 OK", "Content-Length: 3").concat("on"));
    await client.has("\r\n\r\non");
    first.write("e");
    await stage.requestsCome(2);
    const connection = stage.workerConnections.find(({ all }) => all.includes("/2 "));
    connection?.write(ok("two"));
    const answers = await stage.answersCome(client, 2);
    stage.check(answers.map(({ body }) => body).join() === "one,two", `got ${client.text}`);
  }),
  played("a hundred requests in sequence", "RFC 9112 §9.3", async (stage) => {
    const client = await stage.client();
    for (let i = 0; i < 100; i++) {
      client.text = "";
      client.write(get());
      await stage.answersCome(client, 1);
      stage.check(client.text.endsWith("fine"), `the ${i}th got ${client.text}`);
    }
  }),
  played(
    "a client that sends FIN after its request gets its response",
    "RFC 9112 §9.6",
    async (stage) => {
      const client = await stage.client();
      client.socket.end(get());
      await client.end();
      stage.check(client.text.endsWith("fine"), `got ${client.text}`);
    },
    { kind: "choice" },
  ),
];

export const pipelining: Subject = { name: "a pipeline:", cases };
