import { encode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import type { PeerId } from "../../../shared/base/ids.ts";
import { route } from "../../../worker/sessions/peers/relay.ts";
import { type Message, parseMessage } from "../../../worker/sessions/wire/protocol.ts";

const PEERS = ["host", "a", "b"] as PeerId[];
const audience = { has: (id: string) => PEERS.includes(id as PeerId), ids: () => PEERS };

function message(fields: Record<string, unknown>, targets: readonly string[] = []): Message {
  const keys = targets.map((target) => ({ target, key: "k", iv: "iv" }));
  const bytes = encode({
    version: "0.3.1",
    metadata: { encryption: { keys }, compression: { algorithm: "none" } },
    content: Buffer.from("secret"),
    ...fields,
  });
  const parsed = parseMessage(Buffer.from(bytes), () => true);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function routeOf(fields: Record<string, unknown>, targets?: readonly string[]) {
  return route(message(fields, targets), "a" as PeerId, audience);
}

const PLAIN = { content: { method: "fileSystem/readFile", params: [] } };

describe("a broadcast", () => {
  it("goes to all others for whom it has a key, never to its sender", () => {
    const routed = routeOf({ kind: "broadcast" }, ["a", "b", "host", "a stranger"]);
    if (routed.action !== "broadcast") throw new Error(routed.action);
    expect(routed.to.map(({ peer, key }) => [peer, key.target])).toEqual([
      ["host", "host"],
      ["b", "b"],
    ]);
    expect(routed.keyless).toBe(0);
  });

  it("leaves out those for whom it has no key", () => {
    const routed = routeOf({ kind: "broadcast" }, ["b"]);
    expect(routed).toMatchObject({ action: "broadcast", to: [{ peer: "b" }], keyless: 1 });
  });

  it("is dropped in plain text", () => {
    expect(routeOf({ kind: "broadcast", ...PLAIN })).toEqual({ action: "drop", reason: "plain" });
  });
});

describe("a notification", () => {
  it("goes to its target", () => {
    expect(routeOf({ kind: "notification", target: "b" })).toEqual({ action: "notify", to: "b" });
  });

  it("without a target is for the worker", () => {
    expect(routeOf({ kind: "notification", target: "", ...PLAIN })).toEqual({ action: "control" });
  });

  it("to nobody in the session is dropped", () => {
    for (const target of ["stranger", undefined]) {
      const fields = { kind: "notification", ...(target !== undefined && { target }) };
      expect(routeOf(fields)).toEqual({ action: "drop", reason: "target" });
    }
  });

  it("between peers is dropped in plain text", () => {
    expect(routeOf({ kind: "notification", target: "b", ...PLAIN })).toEqual({
      action: "drop",
      reason: "plain",
    });
  });
});

describe("a request", () => {
  it("is asked of its target, also of the sender itself", () => {
    expect(routeOf({ kind: "request", id: 1, target: "b" })).toEqual({
      action: "request",
      to: "b",
    });
    expect(routeOf({ kind: "request", id: 1, target: "a" })).toEqual({
      action: "request",
      to: "a",
    });
  });

  it("to nobody fails", () => {
    expect(routeOf({ kind: "request", id: 1, target: "stranger" })).toEqual({ action: "fail" });
    expect(routeOf({ kind: "request", id: 1, target: "" })).toEqual({ action: "fail" });
  });

  it("is dropped in plain text", () => {
    expect(routeOf({ kind: "request", id: 1, target: "b", ...PLAIN })).toEqual({
      action: "drop",
      reason: "plain",
    });
  });
});

it("an answer is one, encrypted or not", () => {
  expect(routeOf({ kind: "response", id: "x" })).toEqual({ action: "respond" });
  expect(routeOf({ kind: "response-error", id: "x", content: { message: "no" } })).toEqual({
    action: "respond",
  });
});
