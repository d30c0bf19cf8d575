/**
 * What the data path relies on in a transport, over TCP and TLS, with peers that do not read.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { generate } from "selfsigned";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { findDirectReads } from "../../balancer/transport/accepted-reads.ts";
import { createNetTransport } from "../../balancer/transport/net.ts";
import type { Connection, Transport } from "../../balancer/transport/transport.ts";
import { type PemPair, until } from "./rig.ts";

let certificate: PemPair;

beforeAll(async () => {
  const made = await generate([{ name: "commonName", value: "localhost" }], { keySize: 2048 });
  certificate = { cert: made.cert, key: made.private };
});

/** An accepted connection and its client socket, which reads nothing until it is resumed. */
async function open(transport: Transport, secure: boolean) {
  const accepted: Connection[] = [];
  const closed: (Error | undefined)[] = [];
  const listening = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    ...(secure && {
      tls: {
        certificates: [{ ...certificate, isFor: () => true }],
        handshakeTimeoutMs: 5000,
        onHandshakeFailed() {},
        onPlainConnection() {},
      },
    }),
    admit: () => true,
    refusal: () => "",
    onGone() {},
    onConnection(connection) {
      accepted.push(connection);
      connection.handler = {
        onData() {},
        onEnd() {},
        onDrain() {},
        onClose: (error) => closed.push(error),
      };
    },
  });
  const at = { port: listening.port, host: "127.0.0.1" };
  const peer: Socket = secure
    ? connectTls({ ...at, rejectUnauthorized: false })
    : connect({ ...at, allowHalfOpen: true });
  onTestFinished(() => {
    peer.destroy();
    for (const connection of accepted) connection.destroy();
    listening.close();
  });
  peer.on("error", () => {});
  await once(peer, secure ? "secureConnect" : "connect");
  peer.pause();
  await until(() => accepted.length === 1, "the connection");
  return { peer, connection: accepted[0] as Connection, closed };
}

const reportBug = (error: unknown): void => expect(error).toBeUndefined();
const directReads = await findDirectReads();

describe.each([
  ["with data events", (): Transport => createNetTransport({ reportBug })],
  ["with direct reads", (): Transport => createNetTransport({ reportBug, directReads })],
])("the transport %s", (_, create) => {
  describe.each([
    ["TCP", false],
    ["TLS", true],
  ])("over %s", (_protocol, secure) => {
    test("a reset closes a connection that has ended but still has unsent bytes", async () => {
      const { peer, connection, closed } = await open(create(), secure);
      connection.write([Buffer.alloc(16 * 1024 * 1024)]);
      expect(connection.pendingBytes).toBeGreaterThan(0);
      connection.end();
      connection.reset();
      await until(() => closed.length === 1, "the close");
      peer.resume();
      await until(() => peer.closed || peer.readableEnded, "the close at the other end");
    });

    test("a reset right after the end closes the connection", async () => {
      const { peer, connection, closed } = await open(create(), secure);
      connection.end();
      connection.reset();
      await until(() => closed.length === 1, "the close");
      peer.resume();
      await until(() => peer.closed || peer.readableEnded, "the close at the other end");
    });
  });
});
