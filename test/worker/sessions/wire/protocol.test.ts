import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { Encoding, VERSION } from "open-collaboration-protocol";
import { describe, expect, it } from "vitest";
import type { PeerId } from "../../../../shared/base/ids.ts";
import { SETTINGS } from "../../../../shared/settings/settings.ts";
import {
  forwardBroadcast,
  forwardNotification,
  forwardRequest,
  forwardResponse,
  joined,
  type OutboundMessage,
  requestFailure,
} from "../../../../worker/sessions/wire/outbound.ts";
import {
  createVersionCheck,
  idText,
  type Message,
  PROTOCOL_VERSION,
  parseMessage as parseMessageOf,
  plainContent,
  type Refusal,
} from "../../../../worker/sessions/wire/protocol.ts";

const SENDER = "sendersendersendersender" as PeerId;

const broadcast = {
  version: "0.3.1",
  kind: "broadcast",
  metadata: {
    encryption: {
      keys: [
        { target: "a", key: "key of a", iv: "iv" },
        { target: "b", key: "key of b", iv: "iv" },
      ],
    },
    compression: { algorithm: "gzip" },
  },
  origin: "a liar",
  content: Buffer.from("secret"),
};

const ACCEPTS = createVersionCheck(["0.3"]);

function parseMessage(bytes: Buffer): Message | Refusal {
  return parseMessageOf(bytes, ACCEPTS);
}

/** As the npm package writes it. */
function bytesOf(message: unknown): Buffer {
  return Buffer.from(Encoding.encode(message));
}

function parsed(bytes: Buffer): Message {
  const message = parseMessage(bytes);
  if (typeof message === "string") throw new Error(message);
  return message;
}

function read(outbound: OutboundMessage | undefined): unknown {
  if (outbound === undefined) throw new Error("no message");
  const bytes = joined(outbound);
  expect(bytes).toHaveLength(outbound.byteLength);
  // As the npm package reads it.
  return Encoding.decode(bytes);
}

describe("relayed messages", () => {
  it("a broadcast keeps everything but has one key and the true origin", () => {
    const message = parsed(bytesOf(broadcast));
    const outbounds = message.metadata.keys.map(forwardBroadcast(message, SENDER));
    expect(read(outbounds[1])).toEqual({
      ...broadcast,
      origin: SENDER,
      metadata: {
        ...broadcast.metadata,
        encryption: { keys: [{ target: "b", key: "key of b", iv: "iv" }] },
      },
    });
  });

  it("a large content is shared by all receivers' messages, not copied", () => {
    const message = parsed(bytesOf({ ...broadcast, content: Buffer.alloc(100_000, "x") }));
    const [a, b] = message.metadata.keys.map(forwardBroadcast(message, SENDER));
    expect(a?.parts.at(-1)?.buffer).toBe(b?.parts.at(-1)?.buffer);
    expect(a?.parts.at(-1)?.length).toBeGreaterThan(100_000 - 1);
    expect((read(a) as { content: Buffer }).content).toHaveLength(100_000);
  });

  it("a notification keeps its target and its keys", () => {
    const message = parsed(bytesOf({ ...broadcast, kind: "notification", target: "b" }));
    expect(read(forwardNotification(message, SENDER))).toEqual({
      ...broadcast,
      kind: "notification",
      target: "b",
      origin: SENDER,
    });
  });

  it("a request gets another id, and its response the original one, number or text", () => {
    for (const id of [1, 70_000, 2 ** 40, -5, 1.5, "text"]) {
      const request = parsed(bytesOf({ ...broadcast, kind: "request", id, target: "b" }));
      expect(read(forwardRequest(request, SENDER, "r.x"))).toMatchObject({
        id: "r.x",
        target: "b",
      });
      const response = parsed(bytesOf({ ...broadcast, kind: "response", id: "r.x" }));
      expect(idText(response)).toBe("r.x");
      const { start, end } = request.id ?? { start: 0, end: 0 };
      const ownId = request.bytes.subarray(start, end);
      expect(read(forwardResponse(response, ownId))).toMatchObject({ id, kind: "response" });
      expect(read(requestFailure(ownId))).toEqual({
        version: VERSION,
        kind: "response-error",
        id,
        metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
        content: { message: "Failed to retrieve the requested data." },
      });
    }
  });

  it("undefined, as msgpackr writes it, and unknown entries are relayed", () => {
    const message = {
      ...broadcast,
      extra: { deep: [undefined, null] },
      nothing: undefined,
      metadata: {
        ...broadcast.metadata,
        extra: undefined,
        encryption: { ...broadcast.metadata.encryption, extra: [undefined] },
      },
    };
    const bytes = bytesOf(message);
    expect(bytes.includes(Buffer.from([0xd4, 0, 0]))).toBe(true);
    const [, second] = parsed(bytes).metadata.keys.map(forwardBroadcast(parsed(bytes), SENDER));
    expect(read(second)).toMatchObject({
      extra: { deep: [undefined, null] },
      nothing: undefined,
      metadata: { extra: undefined, encryption: { extra: [undefined] } },
    });
  });

  it("whatever the npm package encodes is parsed", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 70_000 }),
        fc.array(fc.string({ maxLength: 60, unit: "grapheme-ascii" }), { maxLength: 40 }),
        (content, targets) => {
          const keys = targets.map((target) => ({ target, key: "k".repeat(684), iv: "iv" }));
          const metadata = { encryption: { keys }, compression: { algorithm: "none" } };
          const message = parsed(bytesOf({ ...broadcast, metadata, content }));
          expect(message.encrypted).toBe(true);
          expect(message.metadata.keys.map(({ target }) => target)).toEqual(targets);
          for (const outbound of message.metadata.keys.map(forwardBroadcast(message, SENDER))) {
            expect(Buffer.compare((read(outbound) as { content: Buffer }).content, content)).toBe(
              0,
            );
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("invalid messages", () => {
  it("parsing never throws, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(typeof parseMessage(Buffer.from(bytes))).toBe("string");
      }),
      { numRuns: 2000 },
    );
  });

  it("parsing never throws for a valid message of which some bytes were changed", () => {
    const good = bytesOf({ ...broadcast, id: "id", target: "b", kind: "request" });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const bytes = Buffer.from(good);
          for (const [at, byte] of changes) bytes[at] = byte;
          const message = parseMessage(bytes);
          if (typeof message === "string") return;
          plainContent(message);
          idText(message);
          for (const key of message.metadata.keys) forwardBroadcast(message, SENDER)(key);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("every truncated message is malformed", () => {
    const good = bytesOf(broadcast);
    for (let length = 0; length < good.length; length++) {
      expect(parseMessage(good.subarray(0, length))).toBe("malformed");
    }
    expect(parseMessage(Buffer.concat([good, Buffer.from([0])]))).toBe("malformed");
  });

  it("a duplicate name is refused, because worker and receiver could use different values", () => {
    const twice = (name: string, value: unknown): Buffer => {
      const bytes = Buffer.from(encode(broadcast));
      bytes.writeUInt8(bytes.readUInt8(0) + 1, 0);
      return Buffer.concat([bytes, encode(name), encode(value)]);
    };
    for (const [name, value] of [
      ["kind", "notification"],
      ["origin", "somebody"],
      ["content", {}],
      ["metadata", broadcast.metadata],
      ["version", "0.3.1"],
    ] as const) {
      expect(parseMessage(twice(name, value))).toBe("malformed");
    }
    expect(typeof parseMessage(twice("other", 1))).toBe("object");
  });

  it("a name that is not a string is refused, because decoders make a string of it", () => {
    const bytes = Buffer.from(encode(broadcast));
    bytes.writeUInt8(bytes.readUInt8(0) + 1, 0);
    for (const name of [encode(1), encode(["origin"]), encode(Buffer.from("origin"))]) {
      expect(parseMessage(Buffer.concat([bytes, name, encode("x")]))).toBe("malformed");
    }
  });

  it("incompatible versions are refused", () => {
    const verdict = (version: string) => {
      const message = parseMessage(bytesOf({ ...broadcast, version }));
      return typeof message === "string" ? message : "accepted";
    };
    expect(PROTOCOL_VERSION).toBe(VERSION);
    // The default of /api/meta, in a folder that does not import this one.
    expect(SETTINGS.protocolVersion.default).toBe(PROTOCOL_VERSION);
    expect(["0.3.0", "0.3.1", "0.3.99"].map(verdict)).toEqual(["accepted", "accepted", "accepted"]);
    expect(["0.2.1", "0.4.0", "1.3.1", "", "three", "0.3"].map(verdict)).toEqual(
      Array.from({ length: 6 }, () => "version"),
    );
  });

  it.each([
    ["no metadata", { ...broadcast, metadata: undefined }],
    ["keys that are no list", { ...broadcast, metadata: { encryption: { keys: "all" } } }],
    [
      "a key without a target",
      { ...broadcast, metadata: { encryption: { keys: [{ key: "x" }] } } },
    ],
    ["a request without an id", { ...broadcast, kind: "request", target: "b" }],
    ["an id that is a map", { ...broadcast, kind: "request", target: "b", id: {} }],
    ["an id that is too long", { ...broadcast, kind: "request", target: "b", id: "x".repeat(999) }],
    ["a version that is a number", { ...broadcast, version: 1 }],
    ["a list", [broadcast]],
    ["nothing", null],
  ])("a message is malformed with %s", (_, message) => {
    expect(parseMessage(bytesOf(message))).toBe("malformed");
  });

  it("content nested so deep that a receiver's decoder could overflow is refused", () => {
    const nested = Buffer.concat([Buffer.alloc(10_000, 0x91), Buffer.from([1])]);
    const bytes = Buffer.from(encode({ ...broadcast, content: null }));
    // The content is the last value and one byte long.
    expect(parseMessage(Buffer.concat([bytes.subarray(0, -1), nested]))).toBe("malformed");
  });

  it("a list that claims more items than there are bytes is refused", () => {
    const bytes = Buffer.from(encode({ ...broadcast, content: null }));
    for (const header of [
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xdf, 0xff, 0xff, 0xff, 0xff],
      [0xc6, 0xff, 0xff, 0xff, 0xff],
      [0xdb, 0xff, 0xff, 0xff, 0xff],
      [0xc9, 0xff, 0xff, 0xff, 0xff, 0],
    ]) {
      expect(parseMessage(Buffer.concat([bytes.subarray(0, -1), Buffer.from(header)]))).toBe(
        "malformed",
      );
    }
  });

  it("extension types that change how msgpackr reads what follows are refused", () => {
    const bytes = Buffer.from(encode({ ...broadcast, content: null }));
    const record = Buffer.from([0xd4, 0x72, 0x40]);
    expect(parseMessage(Buffer.concat([bytes.subarray(0, -1), record]))).toBe("malformed");
  });
});

it("a plain content is decoded, an encrypted one is not", () => {
  const leave = {
    ...broadcast,
    kind: "notification",
    target: "",
    content: { method: "room/leave" },
  };
  expect(plainContent(parsed(bytesOf(leave)))).toEqual({ method: "room/leave" });
  expect(plainContent(parsed(bytesOf(broadcast)))).toBeUndefined();
});
