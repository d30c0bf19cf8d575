/**
 * Clients that ask for 20 MiB each and never read, at a balancer that is a process of its own: its memory stays bounded, the
 * others are served, and when those clients go, memory and connections come back.
 */
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { beforeAll, expect, test } from "vitest";
import { head } from "../conformance/case.ts";
import { buildOnce } from "../support/build.ts";
import { launch, type Member, type Run } from "../support/cluster.ts";
import { listen } from "../support/servers.ts";
import { connectSocket } from "../support/sockets.ts";
import { StampChecker, stampedBytes } from "../support/stamps.ts";
import { until } from "../support/until.ts";
import { residentBytes } from "./memory.ts";

const MIB = 1024 * 1024;
const CLIENTS = 200;
const LARGE = stampedBytes(1, 0, 20 * MIB);
const SMALL = stampedBytes(2, 0, 1000);
/** What a balancer may hold for each: what is queued, a read, and the objects of two connections. */
const BYTES_EACH = 256 * 1024;
/** For code that runs for the first time, and what the allocator keeps. */
const BASE_BYTES = 32 * MIB;

let begun = 0;
/** The same bytes for all, so that the worker needs no memory of its own. */
const worker = createServer((incoming, response) => {
  if (incoming.url === "/large") begun++;
  response.end(incoming.url === "/large" ? LARGE : SMALL);
});
let run: Run;

beforeAll(async () => {
  await buildOnce();
  await listen(worker);
});

async function start(): Promise<Member> {
  const { port } = worker.address() as AddressInfo;
  run = launch("balancer", { env: { CT_WORKERS: `127.0.0.1:${port}` } });
  return run.ready();
}

/** Asks for a response and returns its body. */
async function ask(port: number, target: string): Promise<Buffer> {
  const socket = await connectSocket(port);
  socket.write(head(`GET ${target} HTTP/1.1`, "Host: h", "Connection: close"));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const all = Buffer.concat(chunks);
  return all.subarray(all.indexOf("\r\n\r\n") + 4);
}

/** Opens connections that ask and never read; resolves when the balancer takes no more for them. */
async function openIdleReaders(member: Member, count: number): Promise<readonly Socket[]> {
  begun = 0;
  const idle = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = await connectSocket(member.port);
      socket.pause();
      socket.write(head("GET /large HTTP/1.1", "Host: h"));
      return socket;
    }),
  );
  await until("the worker has all requests", () => begun === count);
  let bytes = -1;
  await until("the balancer takes no more", async () => {
    const before = bytes;
    bytes = residentBytes(pidOf(member));
    // Others are served meanwhile.
    for (let i = 0; i < 5; i++) checkBody(await ask(member.port, "/small"), 2, SMALL.length);
    return Math.abs(bytes - before) < MIB / 4;
  });
  return idle;
}

function checkBody(body: Buffer, stream: number, bytes: number): void {
  const checker = new StampChecker(stream);
  checker.take(body);
  expect(checker.fault).toBeUndefined();
  expect(checker.received).toBe(bytes);
}

function pidOf({ child }: Member): number {
  return child.pid ?? 0;
}

function descriptors(member: Member): number {
  return readdirSync(`/proc/${pidOf(member)}/fd`).length;
}

test.each([1, CLIENTS])(
  "%i clients that never read their 20 MiB cost bounded memory, which comes back with their connections",
  async (count) => {
    const member = await start();
    checkBody(await ask(member.port, "/large"), 1, LARGE.length);
    const pid = pidOf(member);
    const descriptorsBefore = descriptors(member);
    const limit = BASE_BYTES + count * BYTES_EACH;
    const before = residentBytes(pid);
    const grown: number[] = [];
    for (let round = 0; round < 2; round++) {
      const idle = await openIdleReaders(member, count);
      grown.push(residentBytes(pid) - before);
      checkBody(await ask(member.port, "/large"), 1, LARGE.length);
      for (const socket of idle) socket.destroy();
      await until("the connections have closed", async () => {
        const view = await member.view();
        return view["connections"] === 0 && descriptors(member) <= descriptorsBefore + 10;
      });
    }
    const [first = 0, second = 0] = grown;
    expect(first).toBeLessThan(limit);
    // The second round uses the memory of the first.
    expect(second).toBeLessThan(first + BASE_BYTES);
    expect(residentBytes(pid) - before).toBeLessThan(limit);
  },
  60_000,
);
