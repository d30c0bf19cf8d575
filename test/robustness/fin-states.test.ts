/**
 * FIN in every state: a client or a worker that ends its side before, within and behind each part of a message. What is
 * complete is delivered, what is not is never passed off as complete, and no connection stays open.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  workerRecord,
} from "../balancer/rig.ts";
import { get, head, ok, switching, upgrade } from "../conformance/case.ts";
import type { RawSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

let worker: RawWorker;
let rig: Rig;
/** What the worker does with each request. */
let respond: (socket: RawSocket) => void;

beforeEach(async () => {
  respond = (socket) => socket.write(ok("fine"));
  worker = await startRawWorker((socket) => {
    while (socket.takeHead() !== undefined) respond(socket);
  });
  rig = await startRig({
    workers: [workerRecord("w1", worker.port)],
    probe: { async ask() {} },
  });
});

afterEach(async () => {
  await rig.idle();
  expect(rig.path.tunnels.size).toBe(0);
  expect(rig.bugs).toEqual([]);
});

/** The statuses of the responses in `text`. */
function statuses(text: string): string[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = ""]) => status);
}

describe("a client that sends FIN", () => {
  const postHead = head("POST / HTTP/1.1", "Host: h", "Content-Length: 10");
  const chunkedHead = head("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked");
  test.each<[string, string, string[]]>([
    ["before its first byte", "", []],
    ["within a request line", "GET / HT", []],
    ["within a head", "GET / HTTP/1.1\r\nHost: h\r\n", []],
    ["behind a request", get(), ["200"]],
    ["behind three pipelined requests", get() + get() + get(), ["200", "200", "200"]],
    ["within the head of a pipelined request", `${get()}GET / HT`, ["200"]],
    ["behind a complete body", `${postHead}0123456789`, ["200"]],
    ["behind the last chunk", `${chunkedHead}4\r\nbody\r\n0\r\n\r\n`, ["200"]],
  ])(
    "a client that sends FIN %s gets the responses to its complete requests, and the end",
    async (_name, bytes, expected) => {
      const client = await rig.client();
      client.socket.end(Buffer.from(bytes, "latin1"));
      await client.end();
      expect(statuses(client.text)).toEqual(expected);
      expect(client.error).toBeUndefined();
    },
  );

  test.each([
    ["before an announced body", postHead],
    ["within a body", `${postHead}01234`],
    ["within a chunk", `${chunkedHead}4\r\nbo`],
    ["between two chunks", `${chunkedHead}4\r\nbody\r\n`],
    ["within the last chunk", `${chunkedHead}4\r\nbody\r\n0\r\n`],
  ])("a client that sends FIN %s is disconnected, and its worker too", async (_name, bytes) => {
    respond = () => {};
    const client = await rig.send(bytes);
    const upstream = await worker.connection(0);
    client.socket.end();
    await client.end();
    // A worker that took the end for the end of the body would act on half of it.
    await until("the end at the worker", () => upstream.closed || upstream.ended);
    expect(statuses(client.text)).toEqual([]);
    expect(upstream.text).not.toContain("0\r\n\r\n");
  });

  test("a client that sends FIN within a response gets all of it", async () => {
    respond = (socket) => socket.write(`${head("HTTP/1.1 200 OK", "Content-Length: 8")}half`);
    const client = await rig.send(get());
    await client.has("half");
    client.socket.end();
    const upstream = await worker.connection(0);
    upstream.write("rest");
    await client.end();
    expect(client.text.endsWith("\r\n\r\nhalfrest")).toBe(true);
  });

  test("a client that sends FIN behind a handshake gets what the worker sends through its tunnel", async () => {
    respond = (socket) => socket.write(`${switching()}first`);
    const client = await rig.client();
    client.socket.end(upgrade());
    const upstream = await worker.connection(0);
    await upstream.end();
    await client.has("first");
    upstream.socket.end("last");
    await client.end();
    expect(client.text.endsWith("firstlast")).toBe(true);
  });
});

describe("a worker that sends FIN", () => {
  const chunkedHead = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked");

  test.each([
    ["before its response", ""],
    ["within the head of its response", "HTTP/1.1 200 OK\r\nContent-Le"],
    ["behind an interim response", head("HTTP/1.1 103 Early Hints")],
  ])("a worker that sends FIN %s causes a 502", async (_name, bytes) => {
    respond = (socket) => socket.socket.end(Buffer.from(bytes, "latin1"));
    const client = await rig.send(head("POST / HTTP/1.1", "Host: h", "Content-Length: 0"));
    await client.has("HTTP/1.1 502 ");
    client.socket.end();
    await client.end();
  });

  test.each([
    ["within a body", `${head("HTTP/1.1 200 OK", "Content-Length: 10")}half`],
    ["before a body", head("HTTP/1.1 200 OK", "Content-Length: 10")],
    ["within a chunk", `${chunkedHead}4\r\nha`],
    ["between two chunks", `${chunkedHead}4\r\nhalf\r\n`],
    ["within the last chunk", `${chunkedHead}4\r\nhalf\r\n0\r\n`],
  ])(
    "a worker that sends FIN %s never makes an incomplete response look complete",
    async (_name, bytes) => {
      respond = (socket) => socket.socket.end(Buffer.from(bytes, "latin1"));
      const client = await rig.send(get());
      await client.end();
      expect(client.text).not.toMatch(/0\r\n\r\n$/);
      expect(statuses(client.text).length).toBeLessThanOrEqual(1);
      client.socket.end();
      await client.close();
    },
  );

  test("a worker that sends FIN at the end of a response without a length completes it", async () => {
    respond = (socket) =>
      socket.socket.end(Buffer.from(`${head("HTTP/1.1 200 OK")}until the end`, "latin1"));
    const client = await rig.send(get());
    await client.has("until the end");
    client.socket.end();
    await client.end();
    expect(client.error).toBeUndefined();
  });

  test("a worker that sends FIN behind a complete response costs the next request nothing", async () => {
    respond = (socket) => socket.socket.end(Buffer.from(ok("fine"), "latin1"));
    const client = await rig.client();
    for (let request = 1; request <= 20; request++) {
      client.write(get());
      await until("the next response", () => statuses(client.text).length === request);
    }
    expect(new Set(statuses(client.text))).toEqual(new Set(["200"]));
    client.socket.end();
    await client.end();
  });

  test("a worker that sends FIN in a tunnel leaves the other way open", async () => {
    respond = (socket) => {
      socket.write(switching());
      socket.socket.end("last");
    };
    const client = await rig.send(upgrade());
    await client.has("last");
    await client.end();
    client.socket.end("more");
    const upstream = await worker.connection(0);
    await upstream.has("more");
    await upstream.end();
  });
});
