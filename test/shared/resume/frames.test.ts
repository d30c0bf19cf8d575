/** The frames between a worker and a balancer within a WebSocket that can be resumed. */
import { expect, test } from "vitest";
import {
  confirmFrame,
  DELIVERY_BYTES,
  isReached,
  MOVE_FRAME,
  RESUME_FRAME,
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
  expect(ticketFrame("ab").toString("hex")).toBe("867e00026162");
  expect(ticketFrame("").toString("hex")).toBe("867e0000");
  expect(ticketFrame("t".repeat(2048)).subarray(0, 4).toString("hex")).toBe("867e0800");
  expect(MOVE_FRAME.toString("hex")).toBe("8700");
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
