/** 500 people behind one address, with the default limits: they come at once, also while somebody beside them floods. */
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { LimitKind } from "../../../balancer/downstream/limit-error.ts";
import type { Limits } from "../../../balancer/limits/limiter.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";
import { BALANCER_SETTINGS } from "../../../shared/settings/balancer-settings.ts";
import { sign } from "../../../shared/settings/secret.ts";
import { proxyV2 } from "../../support/proxy-header.ts";
import { ok, type Rig, startRawRig, TOKEN_KEY } from "../rig.ts";

const PEOPLE = 500;
/** All of them come from 192.0.2.1. */
const HEADER = proxyV2({
  family: 0x11,
  body: Buffer.from([192, 0, 2, 1, 127, 0, 0, 1, 0, 1, 0, 2]),
});
const DEFAULTS: Limits = {
  connections: BALANCER_SETTINGS.limitConnections.default,
  handshakes: BALANCER_SETTINGS.limitHandshakes.default,
  requests: BALANCER_SETTINGS.limitRequests.default,
  logins: BALANCER_SETTINGS.limitLogins.default,
  creates: BALANCER_SETTINGS.limitCreates.default,
};
const WAIT = { timeout: 60_000 };
const KINDS = Object.keys(DEFAULTS) as LimitKind[];
/** The example of RFC 6455 §1.3. */
const UPGRADE =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADED =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async function start(): Promise<{ rig: Rig; sid: string }> {
  const { record, rig } = await startRawRig(
    (socket) => {
      for (let head = socket.takeHead(); head !== undefined; head = socket.takeHead()) {
        socket.write(head.includes("Upgrade: websocket") ? UPGRADED : ok("fine"));
      }
    },
    {
      trusted: ["127.0.0.1"],
      takesProxyHeaders: true,
      addressLimits: DEFAULTS,
      maxConnections: BALANCER_SETTINGS.limitConnections.default,
      maxRequestsPerWorker: BALANCER_SETTINGS.maxRequestsPerWorker.default,
    },
  );
  return { rig, sid: taggedId(workerTag(record.id, record.incarnation)) };
}

/** The status of a request on a connection of its own; `closed` without a response. An upgraded connection stays open. */
function ask(rig: Rig, line: string, fields = ""): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port: rig.port, host: "127.0.0.1" });
    socket.write(HEADER);
    socket.write(`${line} HTTP/1.1\r\nHost: e\r\n${fields}\r\n`);
    let text = "";
    socket.setEncoding("latin1").on("data", (part: string) => {
      text += part;
      if (!text.includes("\r\n\r\n")) return;
      const status = text.slice(9, 12);
      // No port of this machine waits for the connection's last segments.
      if (status === "101") onTestFinished(() => void socket.destroy());
      else socket.resetAndDestroy();
      resolve(status);
    });
    socket.on("error", () => resolve("closed")).on("close", () => resolve("closed"));
  });
}

/** A connection without a request. */
function openOnly(rig: Rig): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port: rig.port, host: "127.0.0.1" });
    socket.on("error", () => {}).on("close", () => resolve());
    socket.resume().end(HEADER);
  });
}

/** Asks on one connection, as often as responses come, a hundred times as much. */
function pipeline(rig: Rig, line: string): void {
  const request = `${line} HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n`;
  const socket = connect({ port: rig.port, host: "127.0.0.1" });
  onTestFinished(() => void socket.destroy());
  const ask = (): boolean => socket.write(request.repeat(100));
  socket.on("error", () => {}).on("data", () => socket.writableLength === 0 && ask());
  socket.write(HEADER);
  ask();
}

function roomToken(person: number): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "HS256" })}.${encode({ room: "A".repeat(24), person })}`;
  return `x-oct-jwt: ${signed}.${sign(TOKEN_KEY, signed)}\r\n`;
}

/** As clients on Node do: each request has a connection. Only the first one may be tried again. */
async function comeBack(rig: Rig, sid: string, person: number): Promise<string[]> {
  const token = roomToken(person);
  let first = "";
  const endMs = performance.now() + 15_000;
  while (first !== "200" && performance.now() < endMs) {
    if (first !== "") await new Promise((resolve) => setTimeout(resolve, 500));
    first = await ask(rig, "GET /socket.io/?EIO=4&transport=polling", token);
  }
  const poll = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
  return [
    first,
    await ask(rig, `POST ${poll}`, `${token}Content-Length: 0\r\n`),
    await ask(rig, `GET ${poll}`, token),
    await ask(rig, `GET /socket.io/?EIO=4&transport=websocket&sid=${sid}`, token + UPGRADE),
  ];
}

async function comeBackAtOnce(rig: Rig, sid: string): Promise<string[]> {
  const people = Array.from({ length: PEOPLE }, (_, person) => comeBack(rig, sid, person));
  return [...new Set((await Promise.all(people)).map((statuses) => statuses.join(" ")))];
}

test("500 people come back at once, each request by a connection", async () => {
  const { rig, sid } = await start();
  expect(await comeBackAtOnce(rig, sid)).toEqual(["200 200 200 101"]);
  for (const kind of KINDS) {
    expect(rig.counters.value("balancer.limited", kind)).toBe(0);
  }
});

test("500 people come back at once while somebody at their address floods and has used up everything", async () => {
  const { rig, sid } = await start();
  const isLimited = (kind: LimitKind) =>
    expect.poll(() => rig.counters.value("balancer.limited", kind), WAIT).toBeGreaterThan(0);
  // In this order: each takes from the requests of all kinds too.
  pipeline(rig, "POST /api/session/create");
  await isLimited("creates");
  pipeline(rig, "POST /api/login/initial");
  await isLimited("logins");
  pipeline(rig, "GET /socket.io/?EIO=4&transport=polling");
  await isLimited("handshakes");
  pipeline(rig, "GET /ct-health/");
  await isLimited("requests");
  let isFlooding = true;
  const openings = Array.from({ length: 100 }, async () => {
    while (isFlooding) await openOnly(rig);
  });
  await isLimited("connections");
  const statuses = await comeBackAtOnce(rig, sid);
  isFlooding = false;
  await Promise.all(openings);
  expect(statuses).toEqual(["200 200 200 101"]);
}, 120_000);
