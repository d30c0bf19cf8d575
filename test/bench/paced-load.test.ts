/** The load of the benchmarks at a fixed rate, with its own process, against a small server. */
import { createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { openPacedLoad, type PacedOutcome } from "../../bench/support/paced-load.ts";
import { listen } from "../support/servers.ts";

const RESPONSE = `HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n${"x".repeat(64)}`;
/** Sent in half a second. */
const REQUESTS = 50;
const STALL_MS = 300;

test("a paced load sends its whole schedule and gets a response to each request", async () => {
  const outcome = await load({ connections: REQUESTS }, (socket) => socket.write(RESPONSE));
  expect(outcome.operations).toBe(REQUESTS);
  expect(outcome.p50Us).toBeGreaterThan(0);
  expect(outcome.p99Us).toBeGreaterThanOrEqual(outcome.p50Us);
});

test("requests that a stalled server delays count with their whole delay, also those that could not be sent", async () => {
  let isFirst = true;
  const outcome = await load({ connections: 1 }, (socket) => {
    setTimeout(() => socket.write(RESPONSE), isFirst ? STALL_MS : 0);
    isFirst = false;
  });
  // Were latency counted from the moment of sending, only one request in fifty would be slow.
  expect(outcome.p50Us).toBeGreaterThan((STALL_MS * 1000) / 10);
});

test("a response that is not a success fails the load", async () => {
  await expect(
    load({ connections: 1 }, (socket) =>
      socket.write(RESPONSE.replace("200 OK", "503 Unavailable")),
    ),
  ).rejects.toThrow("503 Unavailable");
});

/** `respond` is called for each request. */
async function load(
  { connections }: { connections: number },
  respond: (socket: Socket) => void,
): Promise<PacedOutcome> {
  const server = createServer((socket) => socket.on("data", () => respond(socket)));
  const port = await listen(server);
  const run = await openPacedLoad({ port, perSecond: 2 * REQUESTS, seconds: 0.5, connections });
  return await run();
}
