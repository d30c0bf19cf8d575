/** Packets of one client after its CONNECT. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PacketReader } from "../../../../worker/sessions/transport/packet-reader.ts";
import { EVENT } from "./linked-connection.ts";

function createReader(namespace = "/") {
  const events: string[] = [];
  const reader = new PacketReader(namespace);
  reader.handler = {
    message: (bytes) => void events.push(`message ${bytes.toString()}`),
    disconnected: () => void events.push("disconnected"),
    connecting: (other) => void events.push(`connecting ${other}`),
    malformed: () => void events.push("malformed"),
  };
  return { reader, events };
}

test("an event and its argument are a message, and between them the reader is within an event", () => {
  const { reader, events } = createReader();
  expect(reader.isInEvent).toBe(false);
  reader.read(EVENT);
  expect(reader.isInEvent).toBe(true);
  expect(events).toEqual([]);
  reader.readArgument(Buffer.from("bytes"));
  expect(reader.isInEvent).toBe(false);
  expect(events).toEqual(["message bytes"]);
});

test.each([
  ["other spaces", '51-[ "message", {"num": 0, "_placeholder": true} ]'],
  ["an acknowledgement", '51-7["message",{"_placeholder":true,"num":0}]'],
  ["further arguments", '51-["message",{"_placeholder":true,"num":0},1]'],
])("an event with %s is read like that of our clients", (_what, packet) => {
  const { reader, events } = createReader();
  reader.read(packet);
  reader.readArgument(Buffer.from("bytes"));
  expect(events).toEqual(["message bytes"]);
});

test.each([
  ["another name", '51-["other",{"_placeholder":true,"num":0}]'],
  ["no argument's place", '51-["message",{}]'],
  ["null as argument", '51-["message",null]'],
  ["no list", '51-{"message":1}'],
  ["broken JSON", '51-["message",{"_placehol'],
  ["nothing", "51-"],
])("the argument of an event with %s is dropped, and the next event is read", (_what, packet) => {
  const { reader, events } = createReader();
  reader.read(packet);
  expect(reader.isInEvent).toBe(true);
  reader.readArgument(Buffer.from("bytes"));
  reader.read(EVENT);
  reader.readArgument(Buffer.from("next"));
  expect(events).toEqual(["message ", "message next"]);
});

test.each([
  ["an argument without an event", [Buffer.from("bytes")]],
  ["an event within an event", [EVENT, EVENT]],
  ["an event with two arguments", ['52-["message",{"_placeholder":true,"num":0}]']],
  ["an event without a count of arguments", ['5["message"]']],
  ["an acknowledgement with an argument", ['61-["message"]']],
])("the reader of packets refuses %s as malformed", (_what, packets) => {
  const { reader, events } = createReader();
  for (const packet of packets) {
    if (typeof packet === "string") reader.read(packet);
    else reader.readArgument(packet);
  }
  expect(events).toEqual(["malformed"]);
});

test("a client leaves by the packet of its own namespace only", () => {
  const { reader, events } = createReader("/own");
  reader.read("1/other,");
  reader.read("1");
  expect(events).toEqual([]);
  reader.read("1/own,");
  expect(events).toEqual(["disconnected"]);
});

test("a client that wants to enter another namespace is named with it, unless it is too long", () => {
  const { reader, events } = createReader();
  reader.read("0/other,{}");
  reader.read("0");
  reader.read(`0/${"n".repeat(3000)},`);
  // The CONNECT of its own namespace may come again, and a name that is too long is nobody's.
  expect(events).toEqual(["connecting /other,"]);
});

test("no sequence of packets makes the reader throw, or take an argument for more than one message", () => {
  const packet = fc.oneof(
    fc.constantFrom(EVENT, "1", "0", "2[]", "3", "4{}", "51-[]", "6", ""),
    fc.string({ maxLength: 20 }),
    fc.constant(Buffer.from("bytes")),
  );
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 30 }), (packets) => {
      const { reader, events } = createReader();
      for (const [index, one] of packets.entries()) {
        const before = events.length;
        if (typeof one === "string") reader.read(one);
        else reader.readArgument(one);
        expect(events.length - before).toBeLessThanOrEqual(1);
        // Its connection is closed.
        if (events.at(-1) === "malformed") return;
        const isMessage = events.length > before && events.at(-1) === "message bytes";
        if (isMessage) expect(packets[index - 1]).toBe(EVENT);
      }
    }),
  );
});
