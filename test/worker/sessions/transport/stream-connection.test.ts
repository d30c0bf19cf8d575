/** A peer's connection over a WebSocket: its heartbeat, what its balancer is told, and how it is given away. */
import { describe, expect, test } from "vitest";
import type { OutboundMessage } from "../../../../worker/sessions/wire/outbound.ts";
import { clientFrame } from "../../../balancer/websocket/frames.ts";
import { createSkipClock } from "../skip-clock.ts";
import { connect, EVENT, event, packet } from "./linked-connection.ts";

const KIB = 1024;

function message(text: string): OutboundMessage {
  const bytes = Buffer.from(text);
  return { parts: [bytes], byteLength: bytes.length, own: false };
}

/** A connection that its balancer can resume. */
const movable = (options: Parameters<typeof connect>[0] = {}) =>
  connect({ isMovable: true, ...options });

describe("heartbeat", () => {
  test("a client is pinged 25 s after its WebSocket opened, and the connection ends when it does not respond within 20 s", async () => {
    const clock = createSkipClock();
    const { frames, settled, isClosed } = await connect({ clock });
    clock.skip(24_000);
    expect(frames()).toEqual([]);
    clock.skip(1000);
    await settled("the ping comes", () => frames().includes("text 2"));
    clock.skip(19_000);
    expect(isClosed()).toBe(false);
    clock.skip(1000);
    expect(isClosed()).toBe(true);
  });

  test("a client whose WebSocket another worker has begun is pinged at once: its 45 s have begun with that worker's last ping", async () => {
    const clock = createSkipClock();
    const { frames, settled } = await movable({ clock, isResumed: true });
    await settled("the ping comes", () => frames().includes("text 2"));
  });

  test("a client that responds is pinged again 25 s later", async () => {
    const clock = createSkipClock();
    const { frames, settled, send, isClosed, messages } = await connect({ clock });
    for (let pings = 1; pings <= 3; pings++) {
      clock.skip(25_000);
      await settled("the ping comes", () => frames().length === pings);
      send(packet("3"), event(`after ping ${pings}`));
      await settled("the client is heard", () => messages.length === pings);
    }
    expect(isClosed()).toBe(false);
  });

  test("a client that sends messages instead of a response stays connected while it sends them", async () => {
    const clock = createSkipClock();
    const { settled, send, isClosed, messages } = await connect({ clock });
    clock.skip(25_000);
    send(event("busy"));
    await settled("the message comes", () => messages.length === 1);
    clock.skip(20_000);
    expect(isClosed()).toBe(false);
    clock.skip(20_000);
    expect(isClosed()).toBe(true);
  });
});

describe("confirmations", () => {
  test("a balancer gets the ticket behind a confirmation of what opened the WebSocket, and nothing before it", async () => {
    const { frames } = await movable({
      begun: { stream: 1, messages: 3, confirmed: 0, repeated: 0 },
    });
    expect(frames()).toEqual(["confirm 3", "ticket"]);
  });

  test("the argument of an event is confirmed with the event, never alone", async () => {
    const { connection, frames, send, settled, messages, counters } = await movable();
    send(event("one"), packet(`4${EVENT}`));
    await settled("the first comes", () => messages.length === 1);
    connection.markRelayed();
    connection.confirm();
    send(clientFrame(2, Buffer.from("two")));
    await settled("the second comes", () => messages.length === 2);
    connection.markRelayed();
    connection.confirm();
    connection.markRelayed();
    connection.confirm();
    await settled("the balancer knows", () => frames().includes("confirm 4"));
    expect(frames()).toEqual(["ticket", "confirm 2", "confirm 4"]);
    expect(counters.value("worker.messages_dropped", "malformed")).toBe(0);
  });

  test("the count of messages goes on where the former worker's ended, and wraps at 32 bits", async () => {
    const begun = { stream: 1, messages: 0xffff_ffff, confirmed: 0xffff_ffff, repeated: 0 };
    const { connection, frames, send, settled, messages } = await movable({ begun });
    send(event("one"));
    await settled("it comes", () => messages.length === 1);
    expect(messages[0]?.source).toMatchObject({ stream: 1, message: 1, isReplayed: false });
    connection.markRelayed();
    connection.confirm();
    await settled("the balancer knows", () => frames().includes("confirm 1"));
  });

  test("messages that the former worker may have relayed are marked, also where the count wraps", async () => {
    const begun = { stream: 9, messages: 0xffff_fffe, confirmed: 0xffff_fffe, repeated: 4 };
    const { send, settled, messages } = await movable({ begun, isResumed: true });
    send(event("one"), event("two"), event("three"));
    await settled("all come", () => messages.length === 3);
    expect(messages.map(({ source }) => [source?.message, source?.isReplayed])).toEqual([
      [0, true],
      [2, true],
      [4, false],
    ]);
  });

  test("a balancer that cannot resume WebSockets gets no frame that is for balancers", async () => {
    const { connection, frames, send, settled, messages, has } = await connect();
    send(event("one"));
    await settled("it comes", () => messages.length === 1);
    connection.markRelayed();
    connection.confirm();
    connection.send(message("to the client"));
    await has("to the client");
    expect(messages[0]?.source).toBeUndefined();
    expect(frames()).toEqual(["binary to the client"]);
  });
});

describe("packets", () => {
  test("the packets of an upgrade and of a CONNECT change nothing when a balancer sends them again", async () => {
    const { send, settled, messages, isClosed } = await movable();
    send(packet("2probe"), packet("5"), packet("6"), packet('40{"token":"t"}'), event("first"));
    await settled("the event comes", () => messages.length === 1);
    expect(messages[0]?.source?.message).toBe(6);
    expect(isClosed()).toBe(false);
  });

  test.each([
    ["an unknown packet", [packet("9")]],
    ["an empty packet", [packet("")]],
    ["the end of its connection", [packet("1")]],
    ["an argument without an event", [clientFrame(2, Buffer.from("bytes"))]],
    ["a text between an event and its argument", [packet(`4${EVENT}`), packet(`4${EVENT}`)]],
    ["its disconnect", [packet("41")]],
  ])("a client that sends %s is closed, and what follows is not read", async (_what, packets) => {
    const { send, settled, messages, isClosed } = await movable();
    send(...packets, event("late"));
    await settled("it is closed", isClosed);
    expect(messages).toEqual([]);
  });

  test("a client that enters another namespace is told that there is one per connection", async () => {
    const { send, has, isClosed } = await movable();
    send(packet("40/other,"));
    await has('44/other,{"message":"one namespace per connection"}');
    expect(isClosed()).toBe(false);
  });

  test("a message beyond the limit ends the connection and is counted", async () => {
    const { connection, send, settle, settled, isClosed, counters, frames } = await movable({
      maxPayload: 1000,
    });
    send(packet(`4${EVENT}`), clientFrame(2, Buffer.alloc(1001)));
    await settled("it is told", () => frames().includes("close"));
    expect(counters.value("worker.messages_dropped", "oversized")).toBe(1);
    // Before the client has responded to that: what it is sent waits for its next connection.
    expect(isClosed()).toBe(true);
    connection.send(message("late"));
    await settle();
    expect(frames()).toEqual(["ticket", "close"]);
  });
});

describe("moving", () => {
  test("a frozen connection that is closed tells the balancer how many messages it has handled, and ends without a close frame", async () => {
    const { connection, frames, send, settled, messages, client, isClosed } = await movable();
    send(event("one"));
    await settled("it comes", () => messages.length === 1);
    expect(await connection.stopInput()).toBeUndefined();
    expect(await connection.freeze()).toBeUndefined();
    expect(connection.isMigrating).toBe(true);
    connection.close();
    await settled("the stream ends", () => client.events.includes("end"));
    expect(frames()).toEqual(["ticket", "move 2"]);
    expect(isClosed()).toBe(true);
  });

  test("what comes after input has stopped is not handled, and is when the session stays", async () => {
    const { connection, send, settle, settled, messages } = await movable();
    await connection.stopInput();
    send(event("one"), event("two"));
    await settle();
    expect(messages).toEqual([]);
    await connection.freeze();
    connection.thaw();
    await settled("both come", () => messages.length === 2);
    expect(connection.isMigrating).toBe(false);
  });

  test("output that was given before is in front of the move, and what could not leave is given back", async () => {
    const { connection, frames, settled, client, unsent } = await movable();
    connection.send(message("before"));
    await connection.stopInput();
    await connection.freeze();
    connection.send(message("after"));
    connection.close();
    await settled("the stream ends", () => client.events.includes("end"));
    expect(frames()).toEqual(["ticket", "delivery 0/0", "binary before", "move 0"]);
    expect(unsent.map(({ parts }) => Buffer.concat(parts).toString())).toEqual(["after"]);
  });

  test("a client that does not take its output within a quarter of a second is an obstacle", async () => {
    const { connection, client, settle } = await movable();
    client.stream.pause();
    connection.send(message("x".repeat(2048 * KIB)));
    await settle();
    await connection.stopInput();
    expect(await connection.freeze()).toBe("slow");
    connection.thaw();
    expect(connection.isMigrating).toBe(false);
  });

  test("output that waits for the fence is an obstacle", async () => {
    const { connection, fence } = await movable();
    fence.state = "undecided";
    connection.send(message("waits"));
    await connection.stopInput();
    expect(await connection.freeze()).toBe("slow");
  });

  test("a client within a message of more than 32 KiB is an obstacle, and one within a shorter one is none", async () => {
    const { connection, send, settle, settled, messages } = await movable();
    const [text, argument] = [packet(`4${EVENT}`), clientFrame(2, Buffer.alloc(200 * KIB, "x"))];
    send(text, argument.subarray(0, 20 * KIB));
    await settle();
    expect(await connection.stopInput()).toBeUndefined();
    connection.thaw();
    send(argument.subarray(20 * KIB, 100 * KIB));
    await settle();
    expect(await connection.stopInput()).toBe("half a message");
    connection.thaw();
    send(argument.subarray(100 * KIB));
    await settled("it comes", () => messages.length === 1);
    expect(await connection.stopInput()).toBeUndefined();
  });

  test("a connection whose balancer cannot resume it has to reconnect", async () => {
    const { connection } = await connect();
    expect(await connection.stopInput()).toBe("no link");
  });

  test.each([
    ["has ended", "close"],
    ["migrates", "migrate"],
    ["ends for good", "end"],
  ] as const)("a connection that %s does not move", async (_what, action) => {
    const { connection } = await movable();
    connection[action]();
    expect(await connection.stopInput()).toBe("gone");
    expect(await connection.freeze()).toBe("gone");
  });

  test("a client whose connection breaks while it is frozen is closed, and nothing is sent to it", async () => {
    const { connection, client, settled, frames, isClosed } = await movable();
    await connection.stopInput();
    await connection.freeze();
    client.stream.reset();
    await settled("it is closed", isClosed);
    connection.close();
    expect(frames()).toEqual(["ticket"]);
  });
});

test("a client that leaves for good gets everything that it was sent before its end", async () => {
  const { connection, frames, settled } = await movable();
  connection.send(message("last"));
  connection.end();
  connection.send(message("never"));
  await settled("it is closed", () => frames().includes("close"));
  expect(frames()).toEqual(["ticket", "delivery 0/0", "binary last", "text 41", "close"]);
});
