/** `/prepare-downscale`: a worker that is emptied before it is removed. */
import { expect, test } from "vitest";
import type { WorkerState } from "../../../shared/store/member.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { downscalePage } from "../../../worker/session-moves/downscale-page.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";

const MINUTE_MS = 60_000;

function setUp({
  hasSuccessor = true,
  staysAnother = true as boolean | StoreAwayError,
  refuses = "",
  isLocalOnly = false,
  initially = "up" as WorkerState,
} = {}) {
  const clock = createStepClock();
  let state = initially;
  let revision = 0;
  const states = { drain: "draining", suspend: "suspended", resume: "up" } as const;
  const command = (kind: keyof typeof states): void => {
    state = states[kind];
    revision++;
  };
  const page = downscalePage({
    commandHandler: {
      get state() {
        return state;
      },
      get revision() {
        return revision;
      },
      get draining() {
        return state === "draining" ? 3 : undefined;
      },
      async handleCommand({ kind }) {
        if (kind === refuses) return { outcome: "refused", message: `no ${kind}` };
        command(kind as keyof typeof states);
        return { outcome: "done", message: "" };
      },
    },
    hasSuccessor: () => hasSuccessor,
    async staysAnother() {
      if (typeof staysAnother === "boolean") return staysAnother;
      throw staysAnother;
    },
    sessions: () => 3,
    isLocalOnly,
    clock,
    log: silentLog(),
  });
  const ask = async (method: string, headers = {}, isLocal = false) =>
    page({ method, headers, isLocal });
  return { ask, clock, command };
}

test("POST drains the worker before a downscale, GET says how far it is, DELETE takes it back", async () => {
  const { ask } = setUp();
  const draining = { prepared: true, state: "draining", sessions: 3, isMoving: true };
  expect(await ask("GET")).toEqual({
    status: 200,
    body: { prepared: false, state: "up", sessions: 3, isMoving: false },
  });
  expect(await ask("POST")).toEqual({ status: 200, body: draining });
  expect(await ask("POST")).toEqual({ status: 200, body: draining });
  expect(await ask("GET")).toEqual({ status: 200, body: draining });
  expect((await ask("DELETE")).body).toMatchObject({ prepared: false, state: "up" });
  expect((await ask("DELETE")).status).toBe(200);
});

test("the last worker is not emptied for a downscale", async () => {
  const { ask } = setUp({ hasSuccessor: false });
  const { status, body } = await ask("POST");
  expect(status).toBe(409);
  expect(body).toEqual({
    error: "no other worker accepts sessions; keep this one, or start another one first",
  });
  expect((await ask("GET")).body).toMatchObject({ state: "up" });
});

test("of all workers that are asked to drain at once, those that see no other take it back", async () => {
  const { ask } = setUp({ staysAnother: false });
  expect(await ask("POST")).toEqual({
    status: 409,
    body: { error: "no other worker accepts sessions; keep this one, or start another one first" },
  });
  expect((await ask("GET")).body).toMatchObject({ prepared: false, state: "up" });
});

test("while the store is away no worker is emptied, because nobody knows who stays", async () => {
  const { ask } = setUp({ staysAnother: new StoreAwayError("members") });
  const { status, body } = await ask("POST");
  expect(status).toBe(409);
  expect(body).toEqual({ error: expect.stringContaining("the store did not answer") });
  expect((await ask("GET")).body).toMatchObject({ prepared: false, state: "up" });
});

test("a suspended worker is suspended again", async () => {
  const { ask } = setUp({ initially: "suspended" });
  await ask("POST");
  expect((await ask("DELETE")).body).toMatchObject({ state: "suspended" });
});

test("a DELETE that comes during the POST takes the drain back", async () => {
  const { ask } = setUp();
  const [, cancelled] = await Promise.all([ask("POST"), ask("DELETE")]);
  expect(cancelled.body).toMatchObject({ prepared: false, state: "up" });
});

test("a drain that the worker refuses is refused with its reason", async () => {
  expect(await setUp({ refuses: "drain" }).ask("POST")).toEqual({
    status: 409,
    body: { error: "no drain" },
  });
});

test("a worker that was emptied and not removed accepts sessions again", async () => {
  const { ask, clock } = setUp();
  await ask("POST");
  clock.advance(29 * MINUTE_MS);
  expect((await ask("GET")).body).toMatchObject({ state: "draining" });
  await ask("POST");
  clock.advance(29 * MINUTE_MS);
  expect((await ask("GET")).body).toMatchObject({ state: "draining" });
  clock.advance(2 * MINUTE_MS);
  await until("it is taken back", async () => {
    const { body } = await ask("GET");
    return (body as { state: string }).state === "up";
  });
});

test.each([
  { when: "before the POST", before: ["drain"], after: [] },
  { when: "after the POST", before: [], after: ["resume", "drain"] },
] as const)(
  "an operator's drain $when is neither taken back nor ended after a while",
  async ({ before, after }) => {
    const { ask, clock, command } = setUp();
    for (const kind of before) command(kind);
    await ask("POST");
    for (const kind of after) command(kind);
    expect((await ask("GET")).body).toMatchObject({ prepared: false, state: "draining" });
    await ask("DELETE");
    clock.advance(60 * MINUTE_MS);
    expect((await ask("GET")).body).toMatchObject({ state: "draining" });
  },
);

test("the downscale page refuses other machines when only this one may ask", async () => {
  const { ask } = setUp({ isLocalOnly: true });
  expect((await ask("POST")).status).toBe(403);
  expect((await ask("GET")).status).toBe(403);
  expect((await ask("POST", {}, true)).body).toMatchObject({ state: "draining" });
});

test("the downscale page refuses pages in browsers and other methods", async () => {
  const { ask } = setUp();
  expect((await ask("POST", { origin: "https://evil.example" })).status).toBe(403);
  expect((await ask("POST", { "sec-fetch-site": "cross-site" })).status).toBe(403);
  expect(await ask("PUT")).toMatchObject({ status: 405, headers: { allow: expect.any(String) } });
  expect((await ask("GET")).body).toMatchObject({ state: "up" });
});
