/** The warm-up of a balancer before its ports open. */

import { expect, test } from "vitest";
import { createTrustedProxies } from "../../../balancer/http1/forwarding.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../balancer/http1/limits.ts";
import { type WarmUpDeps, warmUp } from "../../../balancer/server/warm-up.ts";
import { createNetTransport } from "../../../balancer/transport/net.ts";
import type { Transport } from "../../../balancer/transport/transport.ts";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import { createLog } from "../../../shared/logs/log.ts";
import { BALANCER_DEFAULTS } from "../../support/settings.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import { startRig } from "../rig.ts";

const TIMEOUTS = {
  ...BALANCER_DEFAULTS,
  headerTimeoutMs: 5000,
  bodyTimeoutMs: 5000,
  keepaliveTimeoutMs: 5000,
  upstreamTimeoutMs: 5000,
};

/** Runs a warm-up; resolves with its log lines and the bugs that were reported. */
async function run(
  deps: Partial<WarmUpDeps>,
): Promise<{ readonly lines: readonly string[]; readonly bugs: readonly unknown[] }> {
  const lines: string[] = [];
  const bugs: unknown[] = [];
  const reportBug = (error: unknown): unknown => bugs.push(error);
  const sink = { write: (line: string) => lines.push(line) };
  await warmUp({
    transport: createNetTransport({ reportBug }),
    reportBug,
    isLeased: true,
    trusted: createTrustedProxies([]),
    limits: { ...DEFAULT_HTTP_LIMITS, ...TIMEOUTS },
    timeMs: 60_000,
    clock: systemClock,
    log: createLog({ name: "t", level: "debug", format: "text", sink }),
    ...deps,
  });
  return { lines, bugs };
}

/** The number of requests in the line of a warm-up that succeeded. */
function requestsOf(lines: readonly string[]): number {
  expect(lines).toEqual([expect.stringMatching(/ DEBUG warmed up requests=\d+ tookMs=\d+\n$/)]);
  return Number(/requests=(\d+)/.exec(lines[0] ?? "")?.[1]);
}

/** `systemClock`, and how many of its timers are set. */
function createCountingClock(): { readonly clock: Clock; readonly timers: Set<object> } {
  const timers = new Set<object>();
  const track = (set: (onFired: () => void) => { cancel(): void }) => {
    const timer = set(() => timers.delete(timer));
    timers.add(timer);
    return {
      cancel() {
        timers.delete(timer);
        timer.cancel();
      },
    };
  };
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, action) =>
      track((onFired) =>
        systemClock.after(delayMs, () => {
          onFired();
          action();
        }),
      ),
    every: (periodMs, action) => track(() => systemClock.every(periodMs, action)),
  };
  return { clock, timers };
}

function socketsAndServers(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind.startsWith("TCP"));
}

test.each([true, false])(
  "a warm-up sends 5000 requests and leaves no port, connection or timer behind (workers with leases: %s)",
  async (isLeased) => {
    const before = socketsAndServers().length;
    const { clock, timers } = createCountingClock();
    const { lines, bugs } = await run({ isLeased, clock });
    expect(requestsOf(lines)).toBe(5000);
    expect(bugs).toEqual([]);
    await until("the end of all sockets", () => socketsAndServers().length <= before);
    await until("the end of all timers", () => timers.size === 0);
  },
);

test("a warm-up listens on the loopback address only, and on ports that the system chooses", async () => {
  const transport = createNetTransport({ reportBug() {} });
  const listened: string[] = [];
  const { lines } = await run({
    timeMs: 200,
    transport: {
      ...transport,
      listen(options) {
        listened.push(`${options.host}:${options.port}`);
        return transport.listen(options);
      },
    },
  });
  expect(requestsOf(lines)).toBeGreaterThan(0);
  expect(new Set(listened)).toEqual(new Set(["127.0.0.1:0"]));
});

test("a warm-up ends with the first response after its time, also when the clock jumps", async () => {
  let jumpMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + jumpMs };
  const transport = createNetTransport({ reportBug() {} });
  const { lines } = await run({
    clock,
    transport: {
      ...transport,
      dial(address, outcome) {
        jumpMs += 60_000;
        return transport.dial(address, outcome);
      },
    },
  });
  expect(requestsOf(lines)).toBe(1);
});

test("a warm-up without any response ends when its time is over", async () => {
  const clock = createStepClock();
  const transport = createNetTransport({ reportBug() {} });
  let dials = 0;
  const running = run({
    clock,
    timeMs: 1000,
    transport: {
      ...transport,
      dial() {
        dials++;
        return { cancel() {} };
      },
    },
  });
  await until("a connection", () => dials > 0);
  clock.advance(1000);
  expect(requestsOf((await running).lines)).toBe(0);
});

test("a warm-up of 0 ms does nothing", async () => {
  const { lines } = await run({ timeMs: 0, transport: unusable("EMFILE") });
  expect(lines).toEqual([]);
});

test.each(["EMFILE", "EADDRNOTAVAIL", "ERR_ACCESS_DENIED"])(
  "a warm-up that may not listen (%s) is logged once, and does not fail the start",
  async (code) => {
    const { lines } = await run({ transport: unusable(code) });
    expect(lines).toEqual([expect.stringContaining(" INFO could not warm up; ")]);
    expect(lines[0]).toContain(code);
  },
);

test("a warm-up that cannot connect is logged once, and closes what it has opened", async () => {
  const before = socketsAndServers().length;
  const transport = createNetTransport({ reportBug() {} });
  const broken = unusable("EMFILE");
  const { lines } = await run({
    transport: { ...transport, dial: (address, outcome) => broken.dial(address, outcome) },
  });
  expect(lines).toEqual([expect.stringContaining(" INFO could not warm up; ")]);
  await until("the end of all sockets", () => socketsAndServers().length <= before);
});

test("the ports of a balancer open after what it does before, such as a warm-up", async () => {
  const events: string[] = [];
  const transport = createNetTransport({ reportBug() {} });
  const rig = await startRig({
    transport: {
      ...transport,
      listen(options) {
        events.push("listen");
        return transport.listen(options);
      },
    },
    async beforePortsOpen() {
      const { lines } = await run({ timeMs: 100 });
      requestsOf(lines);
      events.push("warmed up");
    },
  });
  expect(events).toEqual(["warmed up", "listen"]);
  expect(rig.counters.snapshot()).toEqual({});
});

/** A transport on which nothing can be opened, for a reason of the system. */
function unusable(code: string): Transport {
  const problem = Object.assign(new Error(`${code}: refused`), { code });
  return {
    listen: () => Promise.reject(problem),
    dial(_address, outcome) {
      queueMicrotask(() => outcome.onFail(problem));
      return { cancel() {} };
    },
  };
}
