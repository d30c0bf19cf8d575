/** The frames between a worker and a balancer within a WebSocket that can be resumed. */
import { expect, test } from "vitest";
import type { SessionId } from "../../../shared/base/ids.ts";
import {
  confirmFrame,
  DELIVERY_BYTES,
  isReached,
  moveFrame,
  RESUME_FRAME,
  readTicket,
  ticketFrame,
  writeDelivery,
} from "../../../shared/resume/frames.ts";

test("frames for a balancer have opcodes that RFC 6455 reserves, and no client's frame has one of them", () => {
  const opcodes = Object.values(RESUME_FRAME).map((first) => first & 0x0f);
  expect(new Set(opcodes).size).toBe(opcodes.length);
  for (const opcode of opcodes) expect(opcode >= 3 && opcode <= 7).toBe(true);
});

test("a delivery says which message of which stream follows, and how long it is", () => {
  const bytes = Buffer.alloc(20, 0xee);
  const mark = { stream: 0x7fff_ffff, message: 0xffff_fffe, isReplayed: false };
  expect(writeDelivery(bytes, 2, mark, 0x0102_0304)).toBe(2 + DELIVERY_BYTES);
  expect(bytes.toString("hex")).toBe("eeee830c7ffffffffffffffe01020304eeeeeeee");
  expect(writeDelivery(bytes, 2, { ...mark, isReplayed: true }, 0)).toBe(2 + DELIVERY_BYTES);
  expect(bytes.toString("hex")).toBe("eeee840c7ffffffffffffffe00000000eeeeeeee");
  writeDelivery(bytes, 2, undefined, 1);
  expect(bytes.toString("hex")).toBe("eeee830c000000000000000000000001eeeeeeee");
});

test("confirmations, tickets and the move are frames of their payload's length", () => {
  expect(confirmFrame(0xffff_ffff).toString("hex")).toBe("8504ffffffff");
  expect(confirmFrame(2 ** 32 + 1).toString("hex")).toBe("850400000001");
  const session = "S".repeat(24) as SessionId;
  const frame = ticketFrame({ session, epoch: 7, ticket: "a.b" });
  expect(frame.subarray(0, 4).toString("hex")).toBe("867e001e");
  expect(frame.subarray(4).toString()).toBe(`${session} 7 a.b`);
  expect(readTicket(frame.subarray(4))).toEqual({ session, epoch: 7, ticket: "a.b" });
  expect(moveFrame(3).toString("hex")).toBe("870400000003");
});

test.each([
  [5, 5, true],
  [6, 5, true],
  [5, 6, false],
  [0, 0xffff_ffff, true],
  [0xffff_ffff, 0, false],
  [0x7fff_ffff, 0, true],
  // Numbers that have grown beyond 32 bits by an addition.
  [2 ** 32 + 1, 0, true],
  [0, 2 ** 32 + 1, false],
])("the counter %i has come as far as %i: %s", (a, b, isSo) => {
  expect(isReached(a, b)).toBe(isSo);
});
