/** Syslog over UDP and TLS, with receivers that read what a syslog server reads. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { parseSyslogTarget } from "../../../shared/settings/syslog-target.ts";
import { createSyslog, formatMessage, type Syslog } from "../../../worker/audit/syslog.ts";
import { auditEvent } from "../../support/audit.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { collectingLog } from "../../support/logs.ts";
import { closed, listen } from "../../support/servers.ts";
import { until } from "../../support/until.ts";

const certificate = await makeCertificate();

const RFC_5424 =
  /^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S{1,255}) codetogether-edge (\d+) (\S{1,32}) - (.*)$/s;

function contentOf(message: string): Record<string, unknown> {
  const [, , , , , , json = ""] = RFC_5424.exec(message) ?? [];
  return JSON.parse(json) as Record<string, unknown>;
}

function open(url: string, authority?: string) {
  const target = parseSyslogTarget(url);
  if (typeof target === "string") throw new Error(target);
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const syslog: Syslog = createSyslog({ target, authority, clock: systemClock, log, counters });
  onTestFinished(() => syslog.close(100));
  return { syslog, lines, counters };
}

/** Reads octet-counted messages (RFC 5425 §4.3). */
async function receiver(port = 0) {
  const messages: string[] = [];
  const sockets: TLSSocket[] = [];
  const state = { isPaused: false };
  const server: Server = createServer({ key: certificate.key, cert: certificate.cert });
  server.on("secureConnection", (socket) => {
    sockets.push(socket);
    let buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    if (state.isPaused) return;
    socket.on("data", (chunk) => {
      buffer = Buffer.concat([buffer, chunk]);
      for (;;) {
        const space = buffer.indexOf(" ");
        const length = Number(buffer.subarray(0, Math.max(space, 0)).toString());
        if (space < 0 || buffer.length < space + 1 + length) return;
        messages.push(buffer.subarray(space + 1, space + 1 + length).toString());
        buffer = buffer.subarray(space + 1 + length);
      }
    });
  });
  const close = (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    return closed(server);
  };
  return { messages, sockets, state, close, port: await listen(server, port) };
}

test("a message is one of RFC 5424: the kind as its id, and the event as JSON", () => {
  const event = auditEvent("Zoë", { kind: "join.refused", atMs: Date.UTC(2030, 0, 1) });
  const [, priority, time, , , id] =
    RFC_5424.exec(formatMessage(event.kind, event.atMs, event).toString()) ?? [];
  expect([priority, time, id]).toEqual(["108", "2030-01-01T00:00:00.000Z", "join.refused"]);
  expect(contentOf(formatMessage(event.kind, event.atMs, event).toString())).toEqual(event);
  const huge = formatMessage("join.asked", 0, { name: "x".repeat(100_000) });
  expect(contentOf(huge.toString())).toEqual({ kind: "join.asked", isTooLong: true });
});

test.each(["127.0.0.1", "localhost"])("over UDP to %s, each event is a datagram", async (host) => {
  const received: string[] = [];
  const server = createSocket("udp4").on("message", (message) => received.push(message.toString()));
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { syslog } = open(`udp://${host}:${server.address().port}`);
  syslog.write(auditEvent("Person 0"));
  await until("the first has arrived", () => received.length === 1);
  for (let n = 1; n < 50; n++) syslog.write(auditEvent(`Person ${n}`));
  await until("all have arrived", () => received.length === 50);
  expect(received.map((message) => contentOf(message)["actor"])).toMatchObject(
    Array.from({ length: 50 }, (_, n) => ({ name: `Person ${n}` })),
  );
});

test("over UDP to a name that does not exist, lost messages are counted", async () => {
  const { syslog, counters, lines } = open("udp://no-such-host.invalid:514");
  syslog.write(auditEvent());
  await until("it says so", () => syslog.problem !== undefined, 30_000);
  expect(counters.value("worker.audit.syslog_dropped")).toBeGreaterThan(0);
  expect(lines.join("")).toContain("cannot be sent to syslog");
}, 40_000);

test("over TLS, events arrive in order, counted in octets, also those before the connection", async () => {
  const server = await receiver();
  const { syslog } = open(`tls://localhost:${server.port}`, certificate.cert);
  for (let n = 0; n < 500; n++) syslog.write(auditEvent(`Zoë ${n}`));
  await until("all have arrived", () => server.messages.length === 500);
  expect(contentOf(server.messages[499] ?? "")).toMatchObject({ actor: { name: "Zoë 499" } });
  expect(syslog.problem).toBeUndefined();
});

test("over TLS, a server with another certificate gets nothing", async () => {
  const server = await receiver();
  const { syslog } = open(`tls://localhost:${server.port}`);
  syslog.write(auditEvent());
  await until("it says why", () => syslog.problem !== undefined);
  expect(syslog.problem).toMatch(/self-signed/);
  expect(server.messages).toEqual([]);
});

test("over TLS, what happens while the server is away is sent when it is back", async () => {
  const server = await receiver();
  const { syslog, lines } = open(`tls://localhost:${server.port}`, certificate.cert);
  syslog.write(auditEvent("before"));
  await until("the first has arrived", () => server.messages.length === 1);
  await server.close();
  await until("it says so", () => syslog.problem !== undefined);
  for (let n = 0; n < 20; n++) syslog.write(auditEvent(`meanwhile ${n}`));
  const again = await receiver(server.port);
  await until("the others have arrived", () => again.messages.length === 20);
  expect(syslog.problem).toBeUndefined();
  expect(lines.join("")).toContain("syslog can be reached again");
});

test("over TLS, a server that reads nothing costs bounded memory; what is dropped is counted, and reported when it reads again", async () => {
  const server = await receiver();
  server.state.isPaused = true;
  const { syslog, counters } = open(`tls://localhost:${server.port}`, certificate.cert);
  await until("it is connected", () => server.sockets.length === 1);
  const dropped = () => counters.value("worker.audit.syslog_dropped");
  const text = "x".repeat(900);
  let written = 0;
  await until(
    "messages are dropped",
    () => {
      for (let n = 0; n < 1000; n++)
        syslog.write(auditEvent("Ada", { details: { text, n: written++ } }));
      return dropped() > 0;
    },
    30_000,
  );
  server.state.isPaused = false;
  server.sockets[0]?.destroy();
  await until("it reports what is missing", () =>
    server.messages.some((message) => message.includes("audit.gap")),
  );
  const gap = server.messages.map(contentOf).find(({ events }) => events !== undefined);
  expect(gap?.["events"]).toBe(dropped());
}, 60_000);

test("addresses are udp or tls with a host, and a port if it is another", () => {
  expect(parseSyslogTarget("udp://log.example.com")).toMatchObject({ protocol: "udp", port: 514 });
  expect(parseSyslogTarget("tls://[2001:db8::1]:7000")).toMatchObject({
    host: "2001:db8::1",
    port: 7000,
  });
  for (const wrong of [
    "tcp://a:514",
    "udp://",
    "udp://a:0",
    "udp://a:99999",
    "udp://a/b",
    "log:514",
  ]) {
    expect(parseSyslogTarget(wrong)).toBe("use udp://HOST:514 or tls://HOST:6514");
  }
});
