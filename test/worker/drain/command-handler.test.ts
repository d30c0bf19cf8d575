/** What a worker does when operators ask it one thing while it does another. */
import { expect, it } from "vitest";
import { createLog } from "../../../shared/logs/log.ts";
import { createCommandHandler } from "../../../worker/drain/command-handler.ts";

function setUp() {
  let stopped = false;
  let finish = (): void => {};
  const over = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const standing = createCommandHandler({
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
    log: createLog({ name: "test", level: "error", format: "text", sink: { write() {} } }),
    hasSuccessor: () => true,
  });
  return { standing, finish, isStopped: () => stopped };
}

it("a drain that an operator asked for is stopped by another word", async () => {
  for (const kind of ["resume", "suspend"] as const) {
    const { standing, isStopped } = setUp();
    await standing.handleCommand({ kind: "drain" });
    expect((await standing.handleCommand({ kind })).outcome).toBe("done");
    expect(isStopped()).toBe(true);
    expect(standing.state).toBe(kind === "resume" ? "up" : "suspended");
  }
});

it("a worker that ends hands its sessions over whatever it is told: it would take them with it", async () => {
  for (const kind of ["resume", "suspend"] as const) {
    const { standing, finish, isStopped } = setUp();
    const ended = standing.drain();
    expect(await standing.handleCommand({ kind })).toMatchObject({ outcome: "refused" });
    expect(isStopped()).toBe(false);
    expect(standing.state).toBe("draining");
    finish();
    await ended;
  }
});
