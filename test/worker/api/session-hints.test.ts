/** Hints of the policy for the browser page, over HTTP. */
import { expect, test } from "vitest";
import { newPeerId, newSessionId } from "../../../shared/base/ids.ts";
import { policyOf } from "../../support/policy-cases.ts";
import { startPolicyWorker } from "../policy/fixture.ts";
import { refusal, startTwoWorkers } from "./fixture.ts";

const RULES = "{ name: look, who: { groups: [contractors] }, readOnly: true }";

test("a guest's page is told whether the policy suggests to read only; a host's is not concerned", async () => {
  const { worker, use, openRoom, userOf } = await startPolicyWorker();
  const { roomId } = await openRoom("ada");
  const ask = async (who: Parameters<typeof userOf>[0], isHost = false) => {
    const roomToken = await worker.tokens.signRoom({
      ...{ sessionId: roomId as never, clock: 1, peerId: newPeerId() },
      ...{ user: await userOf(who), host: isHost },
    });
    const headers = { "x-oct-jwt": roomToken };
    return (await worker.ask("GET", "/api/session/hints", { headers })).body;
  };
  expect(await ask("bob")).toEqual({ readOnly: false });
  use(policyOf({ rules: RULES, otherwise: "allow" }));
  expect(await ask("bob")).toEqual({ readOnly: true });
  expect(await ask("untold")).toEqual({ readOnly: true });
  expect(await ask("ada")).toEqual({ readOnly: false });
  expect(await ask("bob", true)).toEqual({ readOnly: false });
});

test("without a room token, and for a session that does not exist, there are no hints", async () => {
  const { worker, tokenOf, userOf } = await startPolicyWorker();
  for (const token of [undefined, "", "garbage", await tokenOf("ada")]) {
    const headers = token === undefined ? {} : { "x-oct-jwt": token };
    const refused = await refusal(worker, () =>
      worker.ask("GET", "/api/session/hints", { headers }),
    );
    expect(refused).toMatchObject({ status: 403, body: "Forbidden resource", counted: 1 });
  }
  const roomToken = await worker.tokens.signRoom({
    ...{ sessionId: newSessionId(), clock: 1, peerId: newPeerId() },
    ...{ user: await userOf("ada"), host: false },
  });
  const headers = { "x-oct-jwt": roomToken };
  expect((await worker.ask("GET", "/api/session/hints", { headers })).status).toBe(404);
});

test("a worker that does not have the session names the one that has", async () => {
  const [owner, other] = await startTwoWorkers();
  const { sessionId } = await owner.openSession();
  const roomToken = await owner.tokens.signRoom({
    ...{ sessionId: sessionId as never, clock: 1, peerId: newPeerId() },
    ...{ user: { id: "guest", name: "Guest" }, host: false },
  });
  const answer = await other.ask("GET", "/api/session/hints", {
    headers: { "x-oct-jwt": roomToken },
  });
  expect(answer.status).toBe(421);
});
