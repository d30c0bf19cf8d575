import { expect, it } from "vitest";
import { decideClaim } from "../../../shared/membership/claim.ts";

it("a session that is here is served, and one that never was or is over is refused", () => {
  for (const owner of ["answers", "refuses", "silent"] as const) {
    expect(decideClaim("owned", owner)).toBe("serve");
    expect(decideClaim("unknown", owner)).toBe("refuse");
    expect(decideClaim("closed", owner)).toBe("refuse");
  }
});

it("only an owner that answers is a reason to send the client there", () => {
  expect(decideClaim("elsewhere", "answers")).toBe("redirect");
  expect(decideClaim("elsewhere", "refuses")).toBe("insist");
  expect(decideClaim("elsewhere", "silent")).toBe("wait");
});

it("who comes waits while the store is away or settles", () => {
  expect(decideClaim("away", "answers")).toBe("wait");
  expect(decideClaim("unsettled", "answers")).toBe("wait");
});
