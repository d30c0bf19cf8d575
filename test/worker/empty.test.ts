/** `ct-worker empty` against a status port that answers as the test says. */
import { expect, test } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import type { StatusResponse } from "../../shared/process/status-port.ts";
import { emptyWorker } from "../../worker/empty.ts";
import { freePort } from "../support/ports.ts";
import { serveStatusPages } from "../support/status-pages.ts";

const NEVER: StatusResponse = { status: 599, body: {} };

/** `answers`: to the POST, then to one GET after the other; the last one stays. */
async function serve(...answers: readonly StatusResponse[]) {
  const asked: string[] = [];
  const url = await serveStatusPages({
    "/prepare-downscale"({ method }) {
      asked.push(method);
      return answers[Math.min(asked.length, answers.length) - 1] ?? NEVER;
    },
  });
  return { url, asked };
}

const moving = (sessions: number): StatusResponse => ({
  status: 200,
  body: { sessions, isMoving: true },
});

const empty = (url: string, timeoutMs = 20_000): Promise<void> =>
  emptyWorker(url, { timeoutMs, clock: systemClock });

test("emptying a worker asks once for the drain, and returns when no session is left", async () => {
  const { url, asked } = await serve(moving(2), moving(1), moving(0));
  await empty(url);
  expect(asked).toEqual(["POST", "GET", "GET"]);
});

test("a drain that has ended and left sessions is an error, not a wait", async () => {
  const over = { status: 200, body: { sessions: 2, isMoving: false } };
  const { url } = await serve(moving(2), over);
  await expect(empty(url)).rejects.toThrow(
    "2 sessions were still on the worker when its drain had ended; its stop tries again",
  );
});

test("emptying a worker gives up after its time", async () => {
  const { url } = await serve(moving(3));
  await expect(empty(url, 1)).rejects.toThrow("3 sessions were still on the worker after 0.001 s");
});

test.each([
  { status: 409, error: "no other worker accepts sessions", says: "no other worker accepts" },
  { status: 403, error: "only for this machine", says: "only for this machine" },
  { status: 404, error: "unknown path", says: "start it with CT_PREPARE_DOWNSCALE=local" },
  { status: 500, error: "the request failed", says: "the request failed" },
])("a worker's refusal of a drain with $status says why", async ({ status, error, says }) => {
  const { url } = await serve({ status, body: { error } });
  await expect(empty(url)).rejects.toThrow(says);
});

test("a worker that does not run is named by its port", async () => {
  const port = await freePort();
  await expect(empty(`http://127.0.0.1:${port}`)).rejects.toThrow(
    `http://127.0.0.1:${port}/prepare-downscale: connect ECONNREFUSED 127.0.0.1:${port}; check that the worker runs`,
  );
});
