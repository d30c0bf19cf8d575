/** Closes connections of engine.io itself: the code relies on its internals. */
import { createServer } from "node:http";
import { attach, type Socket } from "engine.io";
import { expect, onTestFinished, test } from "vitest";
import { closeConnection } from "../../../../worker/sessions/transport/engine-internals.ts";
import { listen } from "../../../support/servers.ts";
import { until } from "../../../support/until.ts";

/** A connection whose client polls once and never again, so that output stays in the buffer. */
async function connection(): Promise<Socket> {
  const http = createServer();
  const engine = attach(http, {});
  const accepted: Socket[] = [];
  engine.on("connection", (socket: Socket) => accepted.push(socket));
  const port = await listen(http);
  onTestFinished(() => void engine.close());
  await (await fetch(`http://127.0.0.1:${port}/engine.io/?EIO=4&transport=polling`)).text();
  const [socket] = accepted;
  if (socket === undefined) throw new Error("no connection came");
  return socket;
}

test("a connection is closed at once when no upgrade is under way", async () => {
  const socket = await connection();
  closeConnection(socket as Parameters<typeof closeConnection>[0]);
  expect(socket.readyState).toBe("closed");
});

test("a connection is closed after its upgrade, and its unsent output is never sent", async () => {
  const socket = await connection();
  socket.write("went back to the peer");
  expect(Reflect.get(socket, "writeBuffer")).toHaveLength(1);
  socket.upgrading = true;
  closeConnection(socket as Parameters<typeof closeConnection>[0]);
  expect(Reflect.get(socket, "writeBuffer")).toHaveLength(0);
  expect(socket.readyState).toBe("open");
  socket.upgrading = false;
  await until("it is closed", () => socket.readyState === "closed");
});
