/** Records of members, as other versions write them. */
import { expect, it } from "vitest";
import { parseMember } from "../../../shared/store/member.ts";
import { balancer, worker } from "../../contract/store.ts";

it("a worker's record without zone and weight is valid, and is like one with the same for all", () => {
  const record = worker("worker-1");
  const { zone: _zone, weight: _weight, ...rest } = record;
  expect(parseMember(JSON.parse(JSON.stringify(rest)))).toEqual({ ...record, zone: "", weight: 1 });
});

it("a record of another kind, with an invalid id or an invalid weight is refused", () => {
  expect(parseMember({ ...worker("worker-1"), kind: "store" })).toBeUndefined();
  expect(parseMember(worker("worker 1"))).toBeUndefined();
  expect(parseMember({ ...worker("worker-1"), weight: 0 })).toBeUndefined();
  expect(parseMember(balancer("balancer-1"))).toMatchObject({ kind: "balancer" });
});
