/**
 * What the data path relies on in a transport, over TCP and TLS, with peers that do not read.
 */
import { describe, expect, test } from "vitest";
import { findDirectReads } from "../../balancer/transport/accepted-reads.ts";
import { createNetTransport } from "../../balancer/transport/net.ts";
import type { Connection, Transport } from "../../balancer/transport/transport.ts";
import { atEnd } from "../support/at-end.ts";
import { makeCertificate } from "../support/certificates.ts";
import { connectSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const certificate = await makeCertificate();

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
  atEnd(() => {
    for (const connection of accepted) connection.destroy();
    listening.close();
  });
  const tls = secure ? {} : undefined;
  const peer = await connectSocket({ port: listening.port, allowHalfOpen: !secure, tls });
  peer.pause();
  await until("the connection", () => accepted.length === 1);
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
      await until("the close", () => closed.length === 1);
      peer.resume();
      await until("the close at the other end", () => peer.closed || peer.readableEnded);
    });

    test("a reset right after the end closes the connection", async () => {
      const { peer, connection, closed } = await open(create(), secure);
      connection.end();
      connection.reset();
      await until("the close", () => closed.length === 1);
      peer.resume();
      await until("the close at the other end", () => peer.closed || peer.readableEnded);
    });
  });
});
