import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { askProcess } from "../../../shared/net/request-process.ts";
import { freePort } from "../../support/ports.ts";

const LONG_MS = 10_000;
const plain = { headers: {}, timeoutMs: LONG_MS, keepConnection: false };

test("the head of the answer comes back, and what was asked arrives as it is", async () => {
  const seen: string[] = [];
  const { url } = await listen((req, res) => {
    let text = "";
    req.on("data", (chunk: Buffer) => {
      text += String(chunk);
    });
    req.on("end", () => {
      seen.push(`${req.method} ${req.url} ${String(req.headers["x-a"])} ${text}`);
      res.writeHead(409, { "X-B": "2" }).end("not now");
    });
  });
  const body = Buffer.from("twelve bytes");
  const answer = await askProcess(`${url}/b?c`, {
    ...plain,
    method: "PUT",
    headers: { "x-a": "1" },
    body,
  });
  expect(answer).toMatchObject({ status: 409, headers: { "x-b": "2" } });
  expect(seen).toEqual(["PUT /b?c 1 twelve bytes"]);
});

test("the body of the answer comes back when it is wanted, up to a limit", async () => {
  const { url } = await listen((_req, res) => void res.end("x".repeat(100_000)));
  expect((await askProcess(url, plain)).body).toHaveLength(0);
  expect((await askProcess(url, { ...plain, maxBodyBytes: 100_000 })).body).toHaveLength(100_000);
  await expect(askProcess(url, { ...plain, maxBodyBytes: 99_999 })).rejects.toThrow();
});

test("a port that refuses rejects with the system's code", async () => {
  const port = await freePort();
  await expect(askProcess(`http://127.0.0.1:${port}/`, plain)).rejects.toMatchObject({
    code: "ECONNREFUSED",
  });
});

test("no answer, and an answer without an end, are out of time", async () => {
  const { url } = await listen((req, res) => {
    if (req.url === "/half") res.writeHead(200).write("h");
  });
  for (const path of ["/none", "/half"]) {
    await expect(askProcess(`${url}${path}`, { ...plain, timeoutMs: 50 })).rejects.toMatchObject({
      name: "TimeoutError",
    });
  }
});

test("a kept connection serves the next question; without keeping each has its own", async () => {
  const { url, sockets } = await listen((_req, res) => void res.writeHead(204).end());
  const kept = { ...plain, keepConnection: true };
  for (const question of [kept, kept, plain, plain]) {
    expect(await askProcess(url, question)).toMatchObject({ status: 204 });
  }
  expect(sockets).toHaveLength(3);
});

test("a question that meets the end of a kept connection is asked once more, on a new one", async () => {
  let questions = 0;
  const { url, sockets } = await listen((req, res) => {
    questions++;
    // The second one meets a connection that is being closed.
    if (questions === 2) req.socket.resetAndDestroy();
    else res.writeHead(204).end();
  });
  const kept = { ...plain, keepConnection: true };
  expect(await askProcess(url, kept)).toMatchObject({ status: 204 });
  expect(await askProcess(url, kept)).toMatchObject({ status: 204 });
  expect([questions, sockets.length]).toEqual([3, 2]);
});

test("a server that resets each connection is not asked for ever", async () => {
  let questions = 0;
  const { url } = await listen((req) => {
    questions++;
    req.socket.resetAndDestroy();
  });
  const asked = askProcess(url, { ...plain, keepConnection: true });
  await expect(asked).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(questions).toBe(1);
});

async function listen(answer: RequestListener): Promise<{ url: string; sockets: Socket[] }> {
  const server: Server = createServer(answer);
  const sockets: Socket[] = [];
  server.on("connection", (socket: Socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  return { url: `http://127.0.0.1:${address.port}`, sockets };
}
