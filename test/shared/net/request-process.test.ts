import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { askProcess } from "../../../shared/net/request-process.ts";
import { freePort } from "../../support/ports.ts";
import { listen } from "../../support/servers.ts";

const LONG_MS = 10_000;
const plain = { headers: {}, timeoutMs: LONG_MS, keepConnection: false };

test("the request arrives unchanged, and the head of the response is returned", async () => {
  const seen: string[] = [];
  const { url } = await start((req, res) => {
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
  const response = await askProcess(`${url}/b?c`, {
    ...plain,
    method: "PUT",
    headers: { "x-a": "1" },
    body,
  });
  expect(response).toMatchObject({ status: 409, headers: { "x-b": "2" } });
  expect(seen).toEqual(["PUT /b?c 1 twelve bytes"]);
});

test("the body of the response is returned if requested, up to a limit", async () => {
  const { url } = await start((_req, res) => void res.end("x".repeat(100_000)));
  expect((await askProcess(url, plain)).body).toHaveLength(0);
  expect((await askProcess(url, { ...plain, maxBodyBytes: 100_000 })).body).toHaveLength(100_000);
  await expect(askProcess(url, { ...plain, maxBodyBytes: 99_999 })).rejects.toThrow();
});

test("a request to a closed port rejects with the system's code", async () => {
  const port = await freePort();
  await expect(askProcess(`http://127.0.0.1:${port}/`, plain)).rejects.toMatchObject({
    code: "ECONNREFUSED",
  });
});

test("a request without a response, or with an unfinished one, times out", async () => {
  const { url } = await start((req, res) => {
    if (req.url === "/half") res.writeHead(200).write("h");
  });
  for (const path of ["/none", "/half"]) {
    await expect(askProcess(`${url}${path}`, { ...plain, timeoutMs: 50 })).rejects.toMatchObject({
      name: "TimeoutError",
    });
  }
});

test("requests share a connection with keepConnection, and have their own without", async () => {
  const { url, sockets } = await start((_req, res) => void res.writeHead(204).end());
  const kept = { ...plain, keepConnection: true };
  for (const options of [kept, kept, plain, plain]) {
    expect(await askProcess(url, options)).toMatchObject({ status: 204 });
  }
  expect(sockets).toHaveLength(3);
});

test("a request on a reused connection that is being closed is sent once more on a new one", async () => {
  let requests = 0;
  const { url, sockets } = await start((req, res) => {
    requests++;
    // The second request arrives on a connection that is being closed.
    if (requests === 2) req.socket.resetAndDestroy();
    else res.writeHead(204).end();
  });
  const kept = { ...plain, keepConnection: true };
  expect(await askProcess(url, kept)).toMatchObject({ status: 204 });
  expect(await askProcess(url, kept)).toMatchObject({ status: 204 });
  expect([requests, sockets.length]).toEqual([3, 2]);
});

test("a request to a server that resets each connection is not repeated indefinitely", async () => {
  let requests = 0;
  const { url } = await start((req) => {
    requests++;
    req.socket.resetAndDestroy();
  });
  const asked = askProcess(url, { ...plain, keepConnection: true });
  await expect(asked).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(requests).toBe(1);
});

async function start(handle: RequestListener): Promise<{ url: string; sockets: Socket[] }> {
  const server: Server = createServer(handle);
  const sockets: Socket[] = [];
  server.on("connection", (socket: Socket) => sockets.push(socket));
  return { url: `http://127.0.0.1:${await listen(server)}`, sockets };
}
