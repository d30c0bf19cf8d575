/** The balancer's own responses: short, constant, without internals, and framed correctly for every client. */
import { type Case, get, head, played, refused, type Subject } from "../case.ts";
import type { Stage } from "../stage.ts";

/** Plays a request to a worker that closes the connection without a response; resolves with the response of the balancer. */
async function failure(stage: Stage, request: string): Promise<string> {
  stage.answers({ bytes: "", closes: "end" });
  const client = await stage.send(request);
  await stage.answersCome(client, 1, [request.split(" ", 1)[0] ?? "GET"]);
  return client.text;
}

const cases: Case[] = [
  played(
    "the health path reports a healthy worker without an error",
    "policy: own errors",
    async (stage) => {
      const { client } = await stage.ask(head("GET /ct-health/ HTTP/1.1", "Host: h"));
      stage.check(client.text.includes('"status":"ok"'), `got ${client.text}`);
      stage.check(stage.workerBytes === "", "a worker was asked");
    },
    { kind: "own" },
  ),
  played(
    "502 has a length",
    "RFC 9112 §6.2",
    async (stage) => {
      const text = await failure(stage, get());
      stage.check(
        /^HTTP\/1\.1 502 /.test(text) && /\r\ncontent-length: \d+\r\n/i.test(text),
        `got ${text}`,
      );
    },
    { kind: "choice" },
  ),
  played("502 reveals no internals", "policy: own errors", async (stage) => {
    const text = await failure(stage, get());
    const inside = [...stage.workerPorts.map(String), "ECONN", "socket", ".ts", ".js:"];
    for (const word of inside) stage.check(!text.includes(word), `${word} is in ${text}`);
  }),
  played("502 repeats nothing that the client sent", "bug class: reflection", async (stage) => {
    const text = await failure(
      stage,
      head("GET /<script>alert(1)</script> HTTP/1.1", "Host: h", "X: <b>"),
    );
    stage.check(!text.includes("<script>alert"), `got ${text}`);
  }),
  played("502 to HEAD has no body", "RFC 9110 §9.3.2", async (stage) => {
    const text = await failure(stage, head("HEAD / HTTP/1.1", "Host: h"));
    stage.check(/^HTTP\/1\.1 502 /.test(text) && text.endsWith("\r\n\r\n"), `got ${text}`);
  }),
  played(
    "502 has a request id and a code",
    "policy: own errors",
    async (stage) => {
      const text = await failure(stage, get());
      stage.check(/"code":"EDGE_UPSTREAM".*"requestId":"[^"]+"/.test(text), `got ${text}`);
      stage.check(/\r\nx-request-id: \S+\r\n/.test(text), `got ${text}`);
    },
    { kind: "own" },
  ),
  played("400 repeats nothing that the client sent", "bug class: reflection", async (stage) => {
    const client = await stage.send(head("GET /<script>alert(1)</script> HTTP/1.1", "X: <b>"));
    await client.end();
    stage.check(
      /^HTTP\/1\.1 400 /.test(client.text) && !client.text.includes("<script>alert"),
      `got ${client.text}`,
    );
  }),
  refused("400 announces that the connection closes", "RFC 9112 §9.6", "GET / HTTP/1.1\r\n\r\n", {
    client: [{ status: 400, has: ["Connection: close"] }],
  }),
  refused("400 to HEAD may be framed by the end", "RFC 9112 §6.3", "HEAD / HTTP/1.1\r\n\r\n"),
  played(
    "400 arrives although the client sent much more",
    "RFC 9112 §9.6: no reset over the answer",
    async (stage) => {
      const client = await stage.send(
        `${head("POST / HTTP/1.1", "Content-Length: 1000000")}${"x".repeat(500_000)}`,
      );
      await client.end();
      stage.check(
        /^HTTP\/1\.1 400 /.test(client.text),
        `got ${client.text.slice(0, 60)}, ${client.error}`,
      );
    },
    { kind: "choice" },
  ),
];

export const errors: Subject = { name: "an error:", cases };
