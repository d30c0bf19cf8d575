/** Aborts: a connection that ends on one side ends on the other, and other clients do not notice. */
import { type Case, chunked, get, head, ok, played, post, type Subject } from "../case.ts";
import { reset, soon } from "../stage.ts";

const cases: Case[] = [
  played(
    "a client that disconnects while the worker is processing",
    "policy: aborts and backpressure",
    async (stage) => {
      const { client, worker } = await stage.exchange(get());
      client.socket.destroy();
      await worker.raw.end();
    },
    { kind: "choice" },
  ),
  played(
    "a client that disconnects within its body",
    "policy: aborts and backpressure, RFC 9112 §8",
    async (stage) => {
      const { client, worker } = await stage.halfABody(post("half", "Content-Length: 10"));
      client.socket.destroy();
      await worker.raw.end();
    },
  ),
  played("a client that disconnects within a chunk", "RFC 9112 §8", async (stage) => {
    const { client, worker } = await stage.halfABody(chunked("a\r\nhalf"));
    client.socket.destroy();
    await worker.raw.end();
    stage.check(!stage.requests.some(({ complete }) => complete), "the worker takes half for all");
  }),
  played("a client that sends FIN within its body", "RFC 9112 §8", async (stage) => {
    const { client, worker } = await stage.halfABody(post("half", "Content-Length: 10"));
    client.socket.end();
    await worker.raw.end();
    stage.check(!stage.requests.some(({ complete }) => complete), "the worker takes half for all");
  }),
  played(
    "a client that disconnects within the response",
    "policy: aborts and backpressure",
    async (stage) => {
      const { client, worker } = await stage.exchange(get());
      worker.write(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked").concat("4\r\nhalf\r\n"));
      await client.has("half");
      client.socket.destroy();
      // A FIN alone may be from a client that has sent all of its requests; only further bytes show the abort.
      await soon(() => {
        worker.write("4\r\nmore\r\n");
        return worker.raw.ended || worker.raw.closed;
      }, "the end of the worker's connection");
    },
  ),
  played(
    "a client that disconnects within its head",
    "policy: aborts and backpressure",
    async (stage) => {
      const client = await stage.send("GET / HTTP/1.1\r\nHo");
      client.socket.destroy();
      await stage.ask(get());
      stage.check(stage.requests.length === 1, "half a head reached a worker");
    },
  ),
  played(
    "a worker that closes before its response: a POST gets 502",
    "policy: own errors, RFC 9110 §9.2.2",
    async (stage) => {
      stage.answers({ bytes: "", closes: "end" });
      const { client, answer } = await stage.ask(post("x", "Content-Length: 1"));
      stage.check(answer?.line.startsWith("HTTP/1.1 502") === true, `got ${client.text}`);
      stage.check(stage.requests.length === 1, `a POST was sent ${stage.requests.length} times`);
    },
  ),
  played(
    "a worker that resets before its response: a POST gets 502",
    "policy: own errors, RFC 9110 §9.2.2",
    async (stage) => {
      stage.answers({ bytes: "", closes: "reset" });
      const { client, answer } = await stage.ask(post("x", "Content-Length: 1"));
      stage.check(answer?.line.startsWith("HTTP/1.1 502") === true, `got ${client.text}`);
      stage.check(stage.requests.length === 1, `a POST was sent ${stage.requests.length} times`);
    },
  ),
  played(
    "a closed keep-alive connection is not noticed by the client",
    "RFC 9112 §9.3.1",
    async (stage) => {
      const { client } = await stage.ask(get());
      const worker = await stage.connection(0);
      worker.raw.socket.end();
      await worker.raw.close();
      client.text = "";
      client.write(get());
      await stage.answersCome(client, 1);
      stage.check(client.text.startsWith("HTTP/1.1 200 "), `got ${client.text}`);
    },
  ),
  played("a response before the end of the request body", "RFC 9110 §7.5", async (stage) => {
    const { client, worker } = await stage.halfABody(post("half", "Content-Length: 1000000"));
    worker.write(
      head("HTTP/1.1 413 Too Large", "Content-Length: 3", "Connection: close").concat("big"),
    );
    await client.has("\r\n\r\nbig");
    // Later bytes are the rest of the body, never a request.
    client.write("GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n");
    await client.end();
    stage.check(
      !/GET \/hidden HTTP\/1.1\r\nhost: h\r\n.*x-forwarded/is.test(stage.workerBytes),
      "the rest of a body became a request",
    );
  }),
  played(
    "a complete response and the end of the connection during the request body",
    "RFC 9112 §9.6",
    async (stage) => {
      const { client, worker } = await stage.halfABody(post("half", "Content-Length: 100"));
      worker.write(ok("early"));
      await client.has("early");
      stage.answers({ bytes: ok("fine") });
      const { client: other } = await stage.ask(get());
      stage.check(other.text.endsWith("fine"), `another client got ${other.text}`);
      // The first worker connection waits for 96 bytes of a body, so a request on it would be lost.
      stage.check(!worker.all.includes("GET / "), "a request was sent into an unfinished body");
    },
  ),
  played(
    "other clients while one aborts a hundred times",
    "policy: other clients do not notice",
    async (stage) => {
      for (let i = 0; i < 100; i++) {
        const rude = await stage.send(i % 2 === 0 ? get() : post("half", "Content-Length: 10"));
        reset(rude);
      }
      const { client } = await stage.ask(get());
      stage.check(client.text.endsWith("fine"), `got ${client.text}`);
    },
  ),
];

export const aborts: Subject = { name: "an abort:", cases };
