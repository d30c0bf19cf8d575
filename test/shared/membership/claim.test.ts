import { expect, it } from "vitest";
import { decideClaim } from "../../../shared/membership/claim.ts";

it("a worker serves a session that it owns, and refuses one that is unknown or closed", () => {
  for (const owner of ["answers", "refuses", "silent"] as const) {
    expect(decideClaim("owned", owner)).toBe("serve");
    expect(decideClaim("unknown", owner)).toBe("refuse");
    expect(decideClaim("closed", owner)).toBe("refuse");
  }
});

it("a client is sent to the owner only if the owner responds", () => {
  expect(decideClaim("elsewhere", "answers")).toBe("redirect");
  expect(decideClaim("elsewhere", "refuses")).toBe("insist");
  expect(decideClaim("elsewhere", "silent")).toBe("wait");
});

it("a client waits while the store is away or settling", () => {
  expect(decideClaim("away", "answers")).toBe("wait");
  expect(decideClaim("unsettled", "answers")).toBe("wait");
});
