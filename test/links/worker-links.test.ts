/** How a balancer opens its links to a worker, and opens them again, over real connections and with the test's own clock. */
import { expect, onTestFinished, test } from "vitest";
import { createNetTransport } from "../../balancer/transport/net.ts";
import type { LinkTarget } from "../../balancer/upstreams/link-target.ts";
import { MAX_LINKS, openLinks, type WorkerLinks } from "../../balancer/upstreams/worker-links.ts";
import { edgeProof, incarnationProof, LINK_PROTOCOL } from "../../shared/net/edge-headers.ts";
import { EDGE_KEY, type RawWorker, startRawWorker, workerRecord } from "../balancer/rig.ts";
import { control } from "../shared/link/frame-bytes.ts";
import { silentLog } from "../support/logs.ts";
import type { RawSocket } from "../support/sockets.ts";
import { createStepClock, type StepClock } from "../support/step-clock.ts";
import { until } from "../support/until.ts";
import { linkTargets } from "./accept-links.ts";
import { startLinkProxy } from "./link-proxy.ts";
import { startLinkedWorker } from "./linked-worker.ts";

/** More than the longest pause between two attempts. */
const LONG_MS = 20_000;

/** A step clock that also counts the timers that repeat. */
function createClock() {
  const clock = createStepClock();
  let periodic = 0;
  return {
    ...clock,
    every(periodMs: number, action: () => void) {
      const timer = clock.every(periodMs, action);
      let isOn = true;
      periodic++;
      return {
        cancel() {
          if (isOn) periodic--;
          isOn = false;
          timer.cancel();
        },
      };
    },
    get periodic() {
      return periodic;
    },
  };
}

function start(target: LinkTarget) {
  const bugs: unknown[] = [];
  const reportBug = (error: unknown): void => void bugs.push(error);
  const clock = createClock();
  const transport = createNetTransport({ reportBug });
  let dials = 0;
  const links = openLinks(target, {
    transport: {
      dial(...args) {
        dials++;
        return transport.dial(...args);
      },
    },
    clock,
    log: silentLog(),
    reportBug,
    random: () => 0.5,
  });
  onTestFinished(() => links.close());
  return { links, clock, bugs, dials: () => dials };
}

function targetAt(port: number): LinkTarget {
  return targetOf(workerRecord("w1", port, { linkVersion: 1 }));
}

function targetOf(record: ReturnType<typeof workerRecord>): LinkTarget {
  const { port } = new URL(record.url);
  const target = linkTargets()(record, { host: "127.0.0.1", port: Number(port) });
  if (typeof target === "string") throw new Error(target);
  return target;
}

async function startRefusing(response: string): Promise<RawWorker> {
  const worker = await startRawWorker((socket) => {
    if (socket.takeHead() !== undefined) socket.socket.end(response);
  });
  onTestFinished(() => worker.close());
  return worker;
}

const isOpen = (links: WorkerLinks) => (): boolean => links.state === "open";

const refusal = (status: string, ...fields: string[]): string =>
  [`HTTP/1.1 ${status}`, ...fields, "Content-Length: 0", "", ""].join("\r\n");
const switchTo = (protocol: string, ...fields: string[]): string =>
  [
    "HTTP/1.1 101 Switching Protocols",
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
    ...fields,
    "",
    "",
  ].join("\r\n");

test.each<[what: string, response: string]>([
  ["that is not the one meant", refusal("421 Misdirected Request")],
  ["with too many links", refusal("503 Service Unavailable")],
  ["that does not switch", refusal("200 OK")],
  ["that switches to something else", switchTo("websocket")],
  ["that does not prove who it is", switchTo(LINK_PROTOCOL)],
  ["that has a wrong proof", switchTo(LINK_PROTOCOL, "x-ct-incarnation: w1.wrong")],
  ["that does not speak HTTP", "SSH-2.0-OpenSSH\r\n\r\n"],
  ["that closes the connection", ""],
])(
  "a worker %s is asked again later, and requests take plain connections until then",
  async (_what, response) => {
    const worker = await startRefusing(response);
    const { links, clock, bugs } = start(targetAt(worker.port));
    for (let attempt = 1; attempt <= 4; attempt++) {
      await until(`attempt ${attempt} is over`, () => worker.connections[attempt - 1]?.closed);
      expect(links.state).toBe("connecting");
      expect(links.open()).toBeUndefined();
      await until("the next attempt has begun", () => {
        clock.advance(LONG_MS);
        return worker.connections.length > attempt;
      });
    }
    expect(bugs).toEqual([]);
  },
);

test.each<[what: string, response: string]>([
  ["without links", refusal("404 Not Found")],
  ["with another version of the link", refusal("426 Upgrade Required")],
])("a worker %s is not asked again", async (_what, response) => {
  const worker = await startRefusing(response);
  const { links, clock } = start(targetAt(worker.port));
  await until("it is known to have none", () => links.state === "unsupported");
  clock.advance(10 * LONG_MS);
  await until("the connection is closed", () => worker.connections[0]?.closed);
  expect(worker.connections).toHaveLength(1);
  expect(links.open()).toBeUndefined();
  expect(clock.periodic).toBe(0);
});

test("a worker that does not respond is given up after 3 s, and asked again", async () => {
  const worker = await startRawWorker();
  onTestFinished(() => worker.close());
  const { links, clock } = start(targetAt(worker.port));
  const first = await worker.withHead(0);
  clock.advance(2999);
  expect(links.state).toBe("connecting");
  clock.advance(1);
  await first.end();
  clock.advance(LONG_MS);
  await worker.connection(1);
});

/** Each attempt at `worker` fails. */
async function expectDoubledPauses(
  worker: RawWorker,
  clock: StepClock,
  dials: () => number,
): Promise<void> {
  const pausesMs = [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000];
  for (const [index, pauseMs] of pausesMs.entries()) {
    await until("the attempt has failed", () => worker.connections[index]?.closed);
    // A random part of it, here three quarters.
    clock.advance(pauseMs * 0.75 - 1);
    expect(dials()).toBe(index + 1);
    clock.advance(1);
    expect(dials()).toBe(index + 2);
  }
}

test("the pauses between attempts double up to 15 s", async () => {
  const worker = await startRefusing(refusal("503 Service Unavailable"));
  const { clock, dials } = start(targetAt(worker.port));
  await expectDoubledPauses(worker, clock, dials);
});

test("a second link is opened when the first has many streams, and no more than four", async () => {
  const worker = await startLinkedWorker();
  const { links } = start(targetOf(worker.record()));
  await until("the link is open", isOpen(links));
  for (let count = 0; count < 256; count++) links.open();
  expect(links.links).toBe(1);
  for (let wanted = 2; wanted <= MAX_LINKS; wanted++) {
    await until(`there are ${wanted} links`, () => {
      // The least used one has 256.
      for (let count = 0; count < 300; count++) links.open();
      return links.links >= wanted;
    });
  }
  for (let count = 0; count < 3000; count++) links.open();
  await until("the worker has all streams", () => worker.links.streams === links.streams);
  expect(links.links).toBe(MAX_LINKS);
  expect(worker.links.links).toBe(MAX_LINKS);
});

test("a link that ends is opened again, also when its worker was away for long", async () => {
  const worker = await startLinkedWorker();
  const proxy = await startLinkProxy(worker.port);
  const { links, clock } = start(targetOf(worker.record(proxy.port)));
  await until("the link is open", isOpen(links));
  proxy.isRefusing = true;
  worker.links.close();
  await until("the link has ended", () => links.state === "connecting");
  for (let attempts = 2; attempts < 6; attempts++) {
    await until("it was tried again", () => {
      clock.advance(LONG_MS);
      return proxy.links.length >= attempts;
    });
  }
  proxy.isRefusing = false;
  await until("the link is open again", () => {
    clock.advance(1000);
    return links.state === "open";
  });
});

test("a worker that is retired keeps its link until the last stream has ended, then no timer is left", async () => {
  const worker = await startLinkedWorker();
  const { links, clock } = start(targetOf(worker.record()));
  await until("the link is open", isOpen(links));
  const stream = links.open();
  links.retire();
  await until("the worker has the stream", () => worker.links.streams === 1);
  expect(links.state).toBe("open");
  stream?.destroy();
  await until("the link has ended", () => worker.links.links === 0);
  expect(links.links).toBe(0);
  expect(clock.periodic).toBe(0);
});

test.each(["retire", "close"] as const)(
  "%s of a worker that has no link at the moment leaves no timer and no attempt behind",
  async (end) => {
    const worker = await startRawWorker();
    onTestFinished(() => worker.close());
    const { links, clock } = start(targetAt(worker.port));
    const attempt = await worker.connection(0);
    links[end]();
    await attempt.end();
    expect(clock.periodic).toBe(0);
    clock.advance(10 * LONG_MS);
    expect(worker.connections).toHaveLength(1);
  },
);

/** The target of a worker that accepts a link, and does `then` with its response. */
async function startAccepting(then: (socket: RawSocket, accepted: Buffer) => void) {
  const record = workerRecord("w1", 1, { linkVersion: 1 });
  const { id, incarnation } = record;
  const proof = incarnationProof(EDGE_KEY, record, edgeProof(EDGE_KEY, id, incarnation));
  const accepted = Buffer.from(switchTo(LINK_PROTOCOL, `x-ct-incarnation: ${proof}`));
  const worker = await startRawWorker((socket) => {
    if (socket.takeHead() !== undefined) then(socket, accepted);
  });
  onTestFinished(() => worker.close());
  return { worker, target: targetOf({ ...record, url: `http://127.0.0.1:${worker.port}` }) };
}

test("frames that follow the worker's response in the same read are not lost", async () => {
  const { target } = await startAccepting((socket, accepted) =>
    socket.write(Buffer.concat([accepted, control(0)])),
  );
  const { links } = start(target);
  await until("the link is open", isOpen(links));
  expect(links.counts).toMatchObject({ framesIn: 1, errors: 0 });
});

test("the pauses between attempts double also when each link breaks right after it was opened", async () => {
  const { worker, target } = await startAccepting((socket, accepted) =>
    socket.socket.end(accepted),
  );
  const { links, clock, dials } = start(target);
  await expectDoubledPauses(worker, clock, dials);
  expect(links.counts.errors).toBe(0);
});
