/** Interim responses (RFC 9110 §15.2): forwarded, never treated as the final response, not sent to HTTP/1.0. */
import { answered, type Case, head, ok, played, post, type Subject } from "../case.ts";

const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
const HINTS = head("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload");
const OLD = "GET / HTTP/1.0\r\nHost: h\r\n\r\n";

const cases: Case[] = [
  answered("103 before the response", "RFC 8297 §2", HINTS + ok("x"), {
    client: [
      { status: 103, has: ["Link: </a>; rel=preload"] },
      { status: 200, body: "x" },
    ],
    kind: "choice",
  }),
  answered("102 before the response", "RFC 9110 §15.2", head("HTTP/1.1 102 Processing") + ok("x"), {
    client: [{ status: 102 }, { status: 200, body: "x" }],
    kind: "choice",
  }),
  answered("an unsolicited 100", "RFC 9110 §15.2.1", CONTINUE + ok("x"), {
    client: [{ status: 100 }, { status: 200, body: "x" }],
    kind: "choice",
  }),
  answered("three interim responses", "RFC 9110 §15.2", CONTINUE + HINTS + HINTS + ok("x"), {
    client: [{ status: 100 }, { status: 103 }, { status: 103 }, { status: 200, body: "x" }],
    kind: "choice",
  }),
  answered("no interim response to HTTP/1.0", "RFC 9110 §15.2", HINTS + ok("x"), {
    status: 200,
    body: "x",
    sends: OLD,
    leaves: "closed",
  }),
  answered("no 100 to HTTP/1.0", "RFC 9110 §15.2", CONTINUE + ok("x"), {
    status: 200,
    body: "x",
    sends: OLD,
    leaves: "closed",
  }),
  answered(
    "an interim response before the end is not a response",
    "RFC 9112 §8",
    { bytes: HINTS, closes: "end" },
    {
      client: [{ status: 103 }, { status: 502 }],
      leaves: "any",
      kind: "choice",
      sends: post("", "Content-Length: 0"),
    },
  ),
  answered(
    "an unsolicited 101 after 100",
    "RFC 9110 §15.2.2",
    {
      bytes:
        CONTINUE + head("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"),
      closes: "end",
    },
    { client: [{ status: 100 }, { status: 502 }], leaves: "any", kind: "choice" },
  ),
  played(
    "a client that waits for 100 continues after it",
    "RFC 9110 §10.1.1",
    async (stage) => {
      stage.answersByHand();
      const client = await stage.send(post("", "Content-Length: 4", "Expect: 100-continue"));
      const worker = await Promise.race([
        stage.connection(0),
        // Some proxies send 100 themselves and contact the worker once they have the body, which is correct too.
        client.has("100 Continue").then(() => stage.connection(0)),
      ]);
      worker.write(CONTINUE);
      await client.has("HTTP/1.1 100 ");
      client.write("abcd");
      const [request] = await stage.requestsCome(1);
      stage.check(request?.body === "abcd", `the worker got ${stage.workerBytes}`);
      worker.write(ok("done"));
      await client.has("done");
    },
    { kind: "choice" },
  ),
  played(
    "Expect reaches the worker",
    "RFC 9110 §10.1.1: forward it",
    async (stage) => {
      await stage.send(post("", "Content-Length: 4", "Expect: 100-continue"));
      const worker = await stage.connection(0);
      await worker.raw.has("\r\n\r\n");
      stage.check(/\r\nexpect: 100-continue\r\n/i.test(worker.all), `the worker got ${worker.all}`);
    },
    { kind: "choice" },
  ),
  played(
    "a refusal instead of 100 reaches the client",
    "RFC 9110 §10.1.1",
    async (stage) => {
      stage.answersByHand();
      const client = await stage.send(post("", "Content-Length: 4", "Expect: 100-continue"));
      const worker = await stage.connection(0);
      await worker.raw.has("\r\n\r\n");
      worker.write(head("HTTP/1.1 413 Too Large", "Content-Length: 0"));
      await client.has("HTTP/1.1 413 ");
      // The body may still come, so the connection must not be parsed as if it would not.
      client.write("GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n");
      await client.end();
      stage.check(
        !stage.workerBytes.includes("/hidden HTTP/1.1\r\nhost"),
        "the hidden request went on as one",
      );
    },
    { kind: "choice" },
  ),
  played("100 after a complete body is harmless", "RFC 9110 §15.2.1", async (stage) => {
    stage.answers({ bytes: CONTINUE + ok("x") });
    const client = await stage.send(post("abcd", "Content-Length: 4", "Expect: 100-continue"));
    await client.has("\r\n\r\nx");
    client.text = "";
    client.write("GET /after HTTP/1.1\r\nHost: h\r\n\r\n");
    await client.has("after");
  }),
];

export const interim: Subject = { name: "an interim response:", cases };
