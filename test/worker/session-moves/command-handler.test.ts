/** What a worker does with a command that arrives during a drain. */
import { expect, it } from "vitest";
import { createCommandHandler } from "../../../worker/session-moves/command-handler.ts";
import { silentLog } from "../../support/logs.ts";

function setUp() {
  let stopped = false;
  let finish = (): void => {};
  const over = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const handler = createCommandHandler({
    registry: { live: () => undefined, load: { sessions: 2, connections: 4 } },
    refresh: async () => {},
    startDrain: () => ({
      left: 2,
      over,
      stop() {
        stopped = true;
        finish();
      },
    }),
    migrateIdleSessions: async () => 0,
    countIdle: () => 0,
    log: silentLog(),
    hasSuccessor: () => true,
  });
  return { handler, finish, isStopped: () => stopped };
}

it("a drain that an operator asked for is cancelled by resume and by suspend", async () => {
  for (const kind of ["resume", "suspend"] as const) {
    const { handler, isStopped } = setUp();
    await handler.handleCommand({ kind: "drain" });
    expect((await handler.handleCommand({ kind })).outcome).toBe("done");
    expect(isStopped()).toBe(true);
    expect(handler.state).toBe(kind === "resume" ? "up" : "suspended");
  }
});

it("a worker that stops refuses resume and suspend, and goes on handing its sessions over", async () => {
  for (const kind of ["resume", "suspend"] as const) {
    const { handler, finish, isStopped } = setUp();
    const ended = handler.drain();
    expect(await handler.handleCommand({ kind })).toMatchObject({ outcome: "refused" });
    expect(isStopped()).toBe(false);
    expect(handler.state).toBe("draining");
    finish();
    await ended;
  }
});
