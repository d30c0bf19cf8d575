/** What we rely on in `ws` beyond its interface. */
import { once } from "node:events";
import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { releaseRead } from "../../../../worker/sessions/transport/engine-internals.ts";
import { listen } from "../../../support/servers.ts";
import { until } from "../../../support/until.ts";

/** A WebSocket of the server, and the client at its other end. */
async function openWebSocket(): Promise<{ served: WebSocket; client: WebSocket }> {
  const server = createServer();
  const port = await listen(server);
  const sockets = new WebSocketServer({ server });
  const connected = once(sockets, "connection") as Promise<[WebSocket]>;
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  onTestFinished(() => {
    client.terminate();
    sockets.close();
  });
  const [[served]] = await Promise.all([connected, once(client, "open")]);
  return { served, client };
}

/** Bytes of reads that a WebSocket keeps alive between two messages. */
function keptBytes(webSocket: WebSocket): number {
  const receiver = Reflect.get(webSocket, "_receiver") as Record<string, unknown>;
  const views = Object.values(receiver).filter((value) => Buffer.isBuffer(value));
  return views.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
}

test.each([false, true])(
  "between messages no read is kept alive once it is released: %s",
  async (releases) => {
    const { served, client } = await openWebSocket();
    const heard: string[] = [];
    served.on("message", (data: Buffer) => {
      if (releases) releaseRead(served);
      heard.push(data.toString());
    });
    const sent = ["one", "", "x".repeat(100_000), "four"];
    for (const text of sent) client.send(text);
    await until("all have come", () => heard.length === sent.length);
    expect(heard).toEqual(sent);
    if (releases) expect(keptBytes(served)).toBe(0);
    else expect(keptBytes(served)).toBeGreaterThan(0);
  },
);
