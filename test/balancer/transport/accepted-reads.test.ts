/** The reads of accepted sockets without a documented option of Node: what they do, and how they are refused. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { findDirectReads } from "../../../balancer/transport/accepted-reads.ts";
import { listen } from "../../support/servers.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("bytes of an accepted socket arrive in the given buffers, and its end is reported", async () => {
  const direct = await findDirectReads();
  const server = createServer({ allowHalfOpen: true });
  const received: string[] = [];
  const ended = new Promise<void>((resolve) => {
    server.on("connection", (socket) => {
      const buffer = Buffer.alloc(4);
      direct(socket, {
        buffer,
        onRead: (length) => received.push(buffer.toString("latin1", 0, length)),
      });
      socket.resume();
      socket.once("end", () => {
        socket.destroy();
        resolve();
      });
    });
  });
  connect(await listen(server), "127.0.0.1").end("hello, world");
  await ended;
  expect(received).toEqual(["hell", "o, w", "orld"]);
});

test("a version of Node whose sockets have no such buffer is refused", async () => {
  vi.spyOn(Object, "getOwnPropertySymbols").mockReturnValue([]);
  await expect(findDirectReads()).rejects.toThrow("keeps no read buffer");
});

test("a version of Node that ignores the buffer is refused", async () => {
  const fake = ["kBuffer", "kBufferCb", "kBufferGen"].map((name) => Symbol(name));
  vi.spyOn(Object, "getOwnPropertySymbols").mockReturnValue(fake);
  await expect(findDirectReads()).rejects.toThrow();
});

test("a version of Node whose handles take no buffer is refused", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  const handle = (socket as unknown as { _handle: object })._handle;
  let owner: object = handle;
  while (!Object.hasOwn(owner, "useUserBuffer")) owner = Object.getPrototypeOf(owner) as object;
  const before = Object.getOwnPropertyDescriptor(owner, "useUserBuffer") as PropertyDescriptor;
  onTestFinished(() => {
    Object.defineProperty(owner, "useUserBuffer", before);
    client.destroy();
    socket.destroy();
    server.close();
  });
  Object.defineProperty(owner, "useUserBuffer", { ...before, value: undefined });
  await expect(findDirectReads()).rejects.toThrow("takes no read buffer");
});
