/**
 * Metrics sent to StatsD while the server starts late, restarts, hangs, sends garbage or has no address: with real sockets,
 * and a stepped clock for rules about long times.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import { createCounters, type Series } from "../../shared/metrics/metrics.ts";
import { createBatches, type TagStyle } from "../../shared/metrics/statsd/batch.ts";
import { type PublisherSettings, startPublisher } from "../../shared/metrics/statsd/publisher.ts";
import { openSink } from "../../shared/metrics/statsd/sink.ts";
import { readSettings } from "../../shared/settings/read-settings.ts";
import { closeAtEnd } from "../support/at-end.ts";
import { collectingLog } from "../support/logs.ts";
import { watchMachine } from "../support/machine.ts";
import { freePort } from "../support/ports.ts";
import { closed, listen } from "../support/servers.ts";
import { WORKER_DEFAULTS } from "../support/settings.ts";
import { createStepClock } from "../support/step-clock.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();

afterEach(() => void vi.unstubAllEnvs());

describe("a batch of StatsD lines", () => {
  test("a batch of StatsD lines has all gauges, and the increase of counters since the last batch that was sent", () => {
    const counters = createCounters();
    const batches = batchesOf("none");
    counters.gauge("worker.sessions.active", () => 2);
    counters.count("worker.sessions_created", "", 3);
    const first = batches.next(counters.series());
    expect(first.lines).toContainEqual(line("count", "ct.worker.w-1.sessions_created", 3));
    counters.count("worker.sessions_created");
    // The first was not sent: its counts are not lost.
    const second = batches.next(counters.series());
    expect(second.lines).toContainEqual(line("count", "ct.worker.w-1.sessions_created", 4));
    second.commit();
    const third = batches.next(counters.series());
    expect(third.lines).toContainEqual(line("gauge", "ct.worker.w-1.sessions.active", 2));
    expect(third.lines.filter(({ type }) => type === "count")).toEqual([]);
  });

  test("a batch of StatsD lines has mean, median and 99th percentile of a histogram in the interval, or 0 without values", () => {
    const counters = createCounters();
    const batches = batchesOf("none");
    for (let i = 0; i < 4; i++) counters.observe("store.latency_ms", 2);
    const first = batches.next(counters.series());
    expect(first.lines.filter(({ name }) => name.includes("latency"))).toEqual([
      line("count", "ct.worker.w-1.store.latency_ms.count", 4),
      line("gauge", "ct.worker.w-1.store.latency_ms.mean", 2),
      line("gauge", "ct.worker.w-1.store.latency_ms.p50", 1.75),
      line("gauge", "ct.worker.w-1.store.latency_ms.p99", 2.485),
    ]);
    first.commit();
    const second = batches.next(counters.series());
    expect(second.lines.filter(({ name }) => name.includes("latency"))).toEqual([
      line("gauge", "ct.worker.w-1.store.latency_ms.mean", 0),
      line("gauge", "ct.worker.w-1.store.latency_ms.p50", 0),
      line("gauge", "ct.worker.w-1.store.latency_ms.p99", 0),
    ]);
  });

  test("a batch of StatsD lines leaves out a gauge that is negative or not finite, and names it", () => {
    const series: Series[] = [
      { name: "process.lag.average", tag: "", kind: "gauge", value: Number.NaN },
      { name: "process.lag.max", tag: "", kind: "gauge", value: -1 },
      { name: "process.elu", tag: "", kind: "gauge", value: Number.POSITIVE_INFINITY },
      { name: "process.lag.p99", tag: "", kind: "gauge", value: 0 },
    ];
    const { lines, invalid } = batchesOf("none").next(series);
    expect(lines).toEqual([line("gauge", "ct.worker.w-1.lag.p99", 0)]);
    expect(invalid).toEqual(["process.lag.average", "process.lag.max", "process.elu"]);
  });

  test("a batch of StatsD lines leaves out a counter that decreased", () => {
    const batches = batchesOf("none");
    const hosted = (value: number): Series[] => [
      { name: "sessions.hosted", tag: "", kind: "counter", value },
    ];
    batches.next(hosted(7)).commit();
    expect(batches.next(hosted(5)).lines).toEqual([]);
  });

  test.each<[TagStyle, readonly object[]]>([
    [
      "none",
      [
        line("gauge", "ct.users.online", 2),
        line("gauge", "ct.worker.host_1_a_b.users.online", 1),
        line("count", "ct.worker.host_1_a_b.messages_dropped.no_key", 5),
      ],
    ],
    [
      "graphite",
      [
        line("gauge", "ct.users.online", 2),
        line("gauge", "ct.worker.users.online;worker=host_1_a_b", 1),
        line("count", "ct.worker.messages_dropped;worker=host_1_a_b;reason=no_key", 5),
      ],
    ],
    [
      "dogstatsd",
      [
        { ...line("gauge", "ct.users.online", 2), tags: {} },
        { ...line("gauge", "ct.worker.users.online", 1), tags: { worker: "host_1_a_b" } },
        {
          ...line("count", "ct.worker.messages_dropped", 5),
          tags: { worker: "host_1_a_b", reason: "no_key" },
        },
      ],
    ],
  ])(
    "a batch of StatsD lines has process and tag of each series in the style %s, without special characters in names",
    (style, expected) => {
      const series: Series[] = [
        { name: "users.online", tag: "", kind: "gauge", value: 2 },
        { name: "worker.users.online", tag: "", kind: "gauge", value: 1 },
        { name: "worker.messages_dropped", tag: "no key", kind: "counter", value: 5 },
        { name: "balancer.tunnels", tag: "", kind: "gauge", value: 9 },
      ];
      expect(batchesOf(style, "host 1:a|b").next(series).lines).toEqual(expected);
    },
  );
});

test.each<[TagStyle, object]>([
  ["none", line("count", "ct.downloads_by.vscode.1_2_0-rc_1", 3)],
  ["graphite", line("count", "ct.downloads_by;ide=vscode;version=1_2_0-rc_1", 3)],
  [
    "dogstatsd",
    {
      ...line("count", "ct.downloads_by", 3),
      tags: { ide: "vscode", version: "1_2_0-rc_1" },
    },
  ],
])("a series with two tags has both in the style %s", (style, expected) => {
  const series: Series[] = [
    { name: "downloads_by", tag: "vscode/1.2.0-rc/1", kind: "counter", value: 3 },
  ];
  expect(batchesOf(style).next(series).lines).toEqual([expected]);
});

describe("StatsD over UDP", () => {
  test("StatsD lines arrive over UDP in datagrams of at most 1,432 bytes, without Datadog's additions even if DD_* is set", async () => {
    for (const [name, value] of Object.entries({
      DD_ENV: "prod",
      DD_SERVICE: "edge",
      DD_AGENT_HOST: "192.0.2.1",
      DD_TAGS: "a:b",
      DD_ENTITY_ID: "x",
      DD_EXTERNAL_ENV: "y",
      DD_DOGSTATSD_URL: "udp://192.0.2.1:1",
    })) {
      vi.stubEnv(name, value);
    }
    const sink = await udpSink();
    const counters = createCounters();
    for (let i = 0; i < 60; i++) counters.count("worker.joins", `result ${i}`);
    publish({ counters, port: sink.port });
    await until("all lines came", () => sink.lines().length >= 60);
    expect(sink.datagrams.length).toBeGreaterThan(1);
    for (const datagram of sink.datagrams) expect(datagram.length).toBeLessThanOrEqual(1432);
    for (const one of sink.lines())
      expect(one).toMatch(/^ct\.worker\.w-1\.[A-Za-z0-9_.-]+:[0-9.]+\|[cg]$/);
  });

  test("tags in the style dogstatsd follow the value", async () => {
    const sink = await udpSink();
    const counters = createCounters();
    counters.count("worker.joins", "asked", 2);
    publish({ counters, port: sink.port, more: { metricsStatsdTags: "dogstatsd" } });
    await until("it came", () =>
      sink.lines().includes("ct.worker.joins:2|c|#worker:w-1,result:asked"),
    );
  });

  test("without a StatsD listener nothing is logged, and once there is one all series arrive within two intervals", async () => {
    const port = await freePort();
    const counters = createCounters();
    counters.gauge("worker.sessions.active", () => 3);
    const { lines } = publish({ counters, port });
    await intervals(3);
    const sink = await udpSink(port);
    const sinceMs = performance.now();
    await until("the gauge came", () => sink.lines().includes("ct.worker.w-1.sessions.active:3|g"));
    machine.expectWithin(sinceMs, TWO_INTERVALS);
    expect(lines.filter((text) => text.includes("ERROR"))).toEqual([]);
  });

  test("an unresolvable host name of StatsD is logged once, and batches are sent once it resolves", async () => {
    const sink = await udpSink();
    const clock = createStepClock();
    let addresses: readonly string[] | undefined;
    const { opened, lines } = open({
      host: "statsd.example",
      port: sink.port,
      clock,
      resolver: {
        async resolve() {
          if (addresses === undefined) throw new Error("getaddrinfo ENOTFOUND statsd.example");
          return addresses;
        },
      },
    });
    const batch = [{ type: "gauge", name: "a", value: 1 }] as const;
    for (let i = 0; i < 5; i++) {
      expect(opened.send(batch)).toBe(false);
      await settled();
    }
    expect(lines.filter((text) => text.includes("StatsD cannot be reached"))).toHaveLength(1);
    addresses = ["127.0.0.1"];
    expect(opened.send(batch)).toBe(false);
    await until("it is found", () => opened.send(batch));
    await until("it came", () => sink.lines().includes("a:1|g"));
  });

  test("a StatsD host that moves is followed within half a minute, with one lookup per period", async () => {
    const before = await udpSink();
    const after = await udpSink(before.port, "127.0.0.2");
    const clock = createStepClock();
    let address = "127.0.0.1";
    let asked = 0;
    const { opened } = open({
      host: "statsd.example",
      port: before.port,
      clock,
      resolver: {
        async resolve() {
          asked++;
          return [address];
        },
      },
    });
    const send = (name: string) => opened.send([{ type: "count", name, value: 1 }]);
    await until("it goes out", () => send("first"));
    await until("it came", () => before.lines().includes("first:1|c"));
    address = "127.0.0.2";
    const askedBefore = asked;
    for (let i = 0; i < 100; i++) send("many");
    expect(asked).toBe(askedBefore);
    clock.advance(30_000);
    await settled();
    expect(send("second")).toBe(true);
    await until("it came at the new place", () => after.lines().includes("second:1|c"));
    expect(asked).toBe(askedBefore + 1);
  });
});

describe("StatsD over TCP", () => {
  test("an optional StatsD server that is away is not logged, and gets every count once it is there", async () => {
    const port = await freePort();
    const counters = createCounters();
    counters.count("worker.sessions_created", "", 7);
    const more = { metricsStatsdProtocol: "tcp", metricsStatsdOptional: true } as const;
    const { lines } = publish({ counters, port, more });
    await intervals(3);
    const sink = await tcpSink(port);
    await until("the count came", () =>
      sink.lines().includes("ct.worker.w-1.sessions_created:7|c"),
    );
    expect(lines.filter((text) => text.includes("StatsD"))).toEqual([]);
  });

  test("a StatsD server that starts late or restarts gets all series within two intervals, and every count", async () => {
    const port = await freePort();
    const counters = createCounters();
    counters.gauge("worker.sessions.active", () => 4);
    counters.count("worker.sessions_created", "", 7);
    const { lines } = publish({ counters, port, more: { metricsStatsdProtocol: "tcp" } });
    await until("it was refused", () => lines.some((text) => text.includes("cannot be reached")));
    await intervals(2);

    const first = await tcpSink(port);
    const startedMs = performance.now();
    await until("the gauge came", () =>
      first.lines().includes("ct.worker.w-1.sessions.active:4|g"),
    );
    machine.expectWithin(startedMs, TWO_INTERVALS);
    expect(first.lines()).toContain("ct.worker.w-1.sessions_created:7|c");
    expect(lines.filter((text) => text.includes("can be reached again"))).toHaveLength(1);

    await first.close();
    await until(
      "the loss was noticed",
      () => lines.filter((text) => text.includes("cannot be reached")).length === 2,
    );
    counters.count("worker.sessions_created", "", 2);
    const second = await tcpSink(port);
    const againMs = performance.now();
    await until("the gauge came again", () =>
      second.lines().includes("ct.worker.w-1.sessions.active:4|g"),
    );
    machine.expectWithin(againMs, TWO_INTERVALS);
    await until("the count came", () =>
      second.lines().includes("ct.worker.w-1.sessions_created:2|c"),
    );
  });

  test("a connection whose StatsD server never reads is closed, and buffers one batch at most", async () => {
    const sink = await tcpSink(undefined, (socket) => socket.pause());
    let offered = 0;
    const { opened, lines } = open({ port: sink.port, protocol: "tcp", maxRetryMs: 100 });
    const batch = Array.from({ length: 2000 }, (_, i) => ({
      type: "gauge" as const,
      name: `long.name.of.a.metric.${i}`,
      value: i,
    }));
    const memoryBefore = await memoryBytes();
    await until("it was given up", () => {
      offered++;
      opened.send(batch);
      return lines.some((text) => text.includes("does not read"));
    });
    for (let i = 0; i < 2000; i++) {
      opened.send(batch);
      if (i % 100 === 0) await settled();
    }
    expect(offered).toBeGreaterThan(3);
    // More than 64 MiB were offered; a client that keeps what is not read would hold all of it.
    expect(batch.reduce((sum, { name }) => sum + name.length + 6, 0) * 2000).toBeGreaterThan(
      64 * 1024 * 1024,
    );
    expect((await memoryBytes()) - memoryBefore).toBeLessThan(48 * 1024 * 1024);
  });

  test("publishing goes on after a server sent garbage, half closed or reset the connection", async () => {
    const counters = createCounters();
    counters.gauge("worker.sessions.active", () => 1);
    const behaviours: ((socket: Socket) => void)[] = [
      (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n".repeat(1000)),
      (socket) => void socket.end("bye"),
      (socket) => void socket.resetAndDestroy(),
      () => {},
    ];
    const sink = await tcpSink(undefined, (socket) => behaviours.shift()?.(socket));
    publish({ counters, port: sink.port, more: { metricsStatsdProtocol: "tcp" } });
    // The first connection stays in use, so the test closes it.
    await until("the gauge came", () => sink.lines().includes("ct.worker.w-1.sessions.active:1|g"));
    sink.cut();
    await until("all were tried", () => behaviours.length === 0);
    const before = sink.lines().length;
    await until("it goes on", () => sink.lines().length > before);
  });

  test("closing the publisher sends what was not sent yet", async () => {
    const sink = await tcpSink();
    const counters = createCounters();
    const { publisher } = publish({
      counters,
      port: sink.port,
      more: { metricsStatsdProtocol: "tcp", metricsIntervalMs: 3_600_000 },
    });
    await until("it is connected", () => sink.connections() === 1);
    counters.count("worker.sessions_created");
    await until("the end has sent it", async () => {
      await publisher.close();
      return sink.lines().includes("ct.worker.w-1.sessions_created:1|c");
    });
  });
});

test("a hanging name lookup delays neither counting nor sending", async () => {
  const counters = createCounters();
  const resolver = { resolve: () => new Promise<never>(() => {}) };
  const { opened } = open({ host: "statsd.example", protocol: "tcp", maxRetryMs: 100, resolver });
  const sinceMs = performance.now();
  for (let i = 0; i < 10_000; i++) {
    counters.count("balancer.retries");
    expect(opened.send([{ type: "count", name: "a", value: 1 }])).toBe(false);
  }
  // 10,000 attempts in well under a second: none of them waits for anything.
  machine.expectWithin(sinceMs, { promisedMs: 1000 });
});

test.each([
  ["CT_METRICS_STATSD_PROTOCOL", "http", "udp, tcp"],
  ["CT_METRICS_PREFIX", "my edge", "letters, digits, _ and -"],
  ["CT_METRICS_PREFIX", "edge:1|g", "letters, digits, _ and -"],
  ["CT_METRICS_PREFIX", "edge..berlin", "letters, digits, _ and -"],
  ["CT_METRICS_STATSD_HOST", "http://statsd:8125", "a host name or an address"],
  ["CT_METRICS_STATSD_HOST", "stats d", "a host name or an address"],
  ["CT_METRICS_STATSD_PORT", "0", "a whole number from 1 to 65535"],
  ["CT_METRICS_STATSD_TAGS", "influx", "none, dogstatsd, graphite"],
  ["CT_METRICS_INTERVAL_MS", "1", "a whole number from 100"],
])("%s=%s prevents the start with what is allowed", (name, value, allowed) => {
  const read = () => readSettings({ role: "worker", env: { [name]: value } });
  expect(read).toThrow(`${name}="${value}" is not allowed; use ${allowed}`);
});

test("the protocol may be in upper case, as in the configuration of the previous product", () => {
  const env = { CT_METRICS_STATSD_PROTOCOL: "TCP" };
  expect(readSettings({ role: "worker", env }).metricsStatsdProtocol).toBe("tcp");
});

// --- helpers ---

const INTERVAL_MS = 200;
/** The promise is two intervals; the rest is for a busy machine. */
const TWO_INTERVALS = { promisedMs: 2 * INTERVAL_MS + 1500, waitsMs: 2 * INTERVAL_MS };

function batchesOf(tags: TagStyle, id = "w-1") {
  const source = { role: "worker", id } as const;
  return createBatches({ prefix: "ct", tags, source, scopes: ["cluster", "worker", "process"] });
}

function line(type: "gauge" | "count", name: string, value: number) {
  return { type, name, value };
}

/** Over UDP to this machine, unless told otherwise. */
function open(options: Partial<Parameters<typeof openSink>[0]>) {
  const { log, lines } = collectingLog();
  const opened = openSink({
    host: "127.0.0.1",
    port: 8125,
    protocol: "udp",
    maxRetryMs: 1000,
    clock: systemClock,
    log,
    onReconnect: () => {},
    ...options,
  });
  return { opened: closeAtEnd(opened), lines };
}

function publish(options: {
  counters: ReturnType<typeof createCounters>;
  port: number;
  more?: Partial<PublisherSettings>;
}) {
  const { log, lines } = collectingLog();
  const publisher = startPublisher({
    settings: {
      ...WORKER_DEFAULTS,
      metricsStatsdHost: "127.0.0.1",
      metricsStatsdPort: options.port,
      metricsPrefix: "ct",
      metricsIntervalMs: INTERVAL_MS,
      ...options.more,
    },
    source: { role: "worker", id: "w-1" },
    scopes: ["worker", "process"],
    series: async () => ({ series: options.counters.series() }),
    clock: systemClock,
    log,
  });
  if (publisher === undefined) throw new Error("no publisher");
  return { publisher: closeAtEnd(publisher), lines };
}

async function udpSink(port = 0, host = "127.0.0.1") {
  const socket = createSocket("udp4");
  const datagrams: Buffer[] = [];
  socket.on("message", (datagram) => datagrams.push(datagram));
  socket.bind(port, host);
  await once(socket, "listening");
  onTestFinished(() => void socket.close());
  return {
    port: socket.address().port,
    datagrams,
    lines: () => datagrams.flatMap((datagram) => datagram.toString().split("\n")),
  };
}

async function tcpSink(port = 0, onSocket: (socket: Socket) => void = () => {}) {
  const sockets = new Set<Socket>();
  let text = "";
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    onSocket(socket);
  });
  const own = await listen(server, port);
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = (): Promise<void> => {
    cut();
    return closed(server);
  };
  return {
    port: own,
    lines: () => text.split("\n"),
    connections: () => connections,
    cut,
    close,
  };
}

/** Waits for `count` intervals of a running publisher. */
async function intervals(count: number): Promise<void> {
  let passed = 0;
  const timer = systemClock.every(INTERVAL_MS, () => passed++);
  await until(`${count} intervals passed`, () => passed >= count);
  timer.cancel();
}

/** Resolves after all pending callbacks of the event loop have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function memoryBytes(): Promise<number> {
  await settled();
  return process.memoryUsage().rss;
}
