/** Which protocol versions a worker relays: an operator can allow a new one by a setting. */
import { expect, it } from "vitest";
import { createVersionCheck } from "../../../worker/sessions/wire/protocol.ts";
import { until } from "../../support/until.ts";
import { startWithGuest } from "./fixture.ts";

it.each([
  [
    ["0.3"],
    ["0.3.0", "0.3.99", "0.3.1-rc.1"],
    ["0.2.9", "0.4.0", "1.3.0", "0.30.0", "0.3", "", "x"],
  ],
  [
    ["0.3", "0.4"],
    ["0.3.1", "0.4.0"],
    ["0.5.0", "3.4.0", "4.0.0"],
  ],
  [
    ["0.4.0", "0.3"],
    ["0.3.1", "0.4.7"],
    ["0.5.0", "0.0.4"],
  ],
  [["1"], ["1.0.0", "1.9.2"], ["0.1.0", "2.0.0", "10.0.0"]],
  [["1.2.0"], ["1.0.0", "1.9.2"], ["2.0.0", "0.1.2"]],
  [[], [], ["0.3.1"]],
])("with %j, %j are accepted and %j are not", (versions, accepted, refused) => {
  const accepts = createVersionCheck(versions);
  expect(accepted.map(accepts)).toEqual(accepted.map(() => true));
  expect(refused.map(accepts)).toEqual(refused.map(() => false));
  // Again, from the cache.
  expect([...accepted, ...refused].filter(accepts)).toEqual(accepted);
});

it("any number of versions is checked correctly, although only some results are cached", () => {
  const accepts = createVersionCheck(["0.3"]);
  for (let patch = 0; patch < 1000; patch++) {
    expect(accepts(`0.3.${patch}`)).toBe(true);
    expect(accepts(`0.4.${patch}`)).toBe(false);
  }
});

it("messages of an added version are relayed, those of others are dropped", async () => {
  const { worker, host, guest } = await startWithGuest({ protocolVersions: ["0.3", "0.4"] });
  for (const version of ["0.4.0", "0.5.0", "0.3.1"]) {
    guest.send({
      version,
      kind: "notification",
      target: host.id,
      metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
      content: Buffer.from(version),
    });
  }
  await until("the last one is there", () => host.contents("notification").length === 2);
  expect(host.contents("notification")).toEqual(["0.4.0", "0.3.1"]);
  expect(worker.counters.value("worker.messages_dropped", "version")).toBe(1);
});
