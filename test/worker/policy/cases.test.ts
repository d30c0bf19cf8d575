/** Forty cases of policies, each with an unmodified client of the protocol's package, and what it shows its user. */
import { ConnectionProvider, SocketIoTransportProvider } from "open-collaboration-protocol";
import { beforeEach, describe, expect, test } from "vitest";
import { CASES, policyOf, type Who } from "../../support/policy-cases.ts";
import { initializeProtocolWithPooledKeys } from "../../support/rsa-keys.ts";
import type { Worker } from "../api/fixture.ts";
import { type PolicyWorker, startPolicyWorker } from "./fixture.ts";

initializeProtocolWithPooledKeys();

let worker: Worker;
let { use, tokenOf, openRoom } = {} as PolicyWorker;

beforeEach(async () => {
  ({ worker, use, tokenOf, openRoom } = await startPolicyWorker());
});

async function clientOf(who: Who): Promise<ConnectionProvider> {
  return newClient(await tokenOf(who));
}

function newClient(userToken: string): ConnectionProvider {
  return new ConnectionProvider({
    url: worker.url,
    client: "case@1.0.0",
    userToken,
    fetch: (url, options) => fetch(url, options as RequestInit) as never,
    authenticationHandler: async () => false,
    transports: [SocketIoTransportProvider],
  });
}

describe("forty cases", () => {
  test.each(CASES.map((one, index) => ({ ...one, number: index + 1 })))(
    "the policy decides case $number as it should: $who, of $of, by $rules",
    async ({ who, of, refusal, ...rules }) => {
      const roomId = of === undefined ? "" : (await openRoom(of)).roomId;
      use(policyOf(rules));
      const client = await clientOf(who);
      const act = (): Promise<unknown> =>
        of === undefined ? client.createRoom({}) : client.joinRoom({ roomId });
      if (refusal === undefined)
        expect(await act()).toMatchObject({ roomToken: expect.any(String) });
      else await expect(act()).rejects.toThrow(refusal);
    },
  );

  test("the cases of the policy are forty", () => expect(CASES).toHaveLength(40));
});

test("the limit of sessions holds for all programs with one API key together, and for each sign-in with a typed name", async () => {
  use("{version: 1, otherwise: {host: allow, join: allow}, rules: [{name: a, sessions: 2}]}");
  const clientAs = async (id: string, name: string, authProvider: string) => {
    const userToken = await worker.tokens.signUser({ id, name, authProvider });
    return newClient(userToken);
  };
  for (const id of ["1", "2"]) await (await clientAs(id, "ci", "API Key")).createRoom({});
  const third = await clientAs("3", "ci", "API Key");
  await expect(third.createRoom({})).rejects.toThrow("too many open sessions");
  // Another key, and somebody who has typed the name of the key.
  await (await clientAs("4", "agent", "API Key")).createRoom({});
  await (await clientAs("5", "ci", "Unverified")).createRoom({});
  const named = await clientAs("6", "Ada", "Unverified");
  for (let count = 0; count < 2; count++) await named.createRoom({});
  await expect(named.createRoom({})).rejects.toThrow("too many open sessions");
  await (await clientAs("7", "Ada", "Unverified")).createRoom({});
});

test("people who come in without a question cannot flood the host with guests who never come", async () => {
  const { roomId } = await openRoom("ada");
  use(
    "{version: 1, otherwise: {host: deny, join: deny}, rules: [{name: a, join: without-asking}]}",
  );
  const client = await clientOf("eve");
  // The host is asked about the first one.
  for (let count = 0; count < 6; count++) await client.joinRoom({ roomId });
  await expect(client.joinRoom({ roomId })).rejects.toThrow("The session is full");
});
