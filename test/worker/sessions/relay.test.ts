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

describe("route: a broadcast", () => {
  it("a broadcast goes to all other peers for which it has a key, never to its sender", () => {
    const routed = routeOf({ kind: "broadcast" }, ["a", "b", "host", "a stranger"]);
    if (routed.action !== "broadcast") throw new Error(routed.action);
    expect(routed.to.map(({ peer, key }) => [peer, key.target])).toEqual([
      ["host", "host"],
      ["b", "b"],
    ]);
    expect(routed.keyless).toBe(0);
  });

  it("a broadcast skips peers for which it has no key", () => {
    const routed = routeOf({ kind: "broadcast" }, ["b"]);
    expect(routed).toMatchObject({ action: "broadcast", to: [{ peer: "b" }], keyless: 1 });
  });

  it("a broadcast in plain text is dropped", () => {
    expect(routeOf({ kind: "broadcast", ...PLAIN })).toEqual({ action: "drop", reason: "plain" });
  });
});

describe("route: a notification", () => {
  it("a notification goes to its target", () => {
    expect(routeOf({ kind: "notification", target: "b" })).toEqual({ action: "notify", to: "b" });
  });

  it("a notification without a target is for the worker", () => {
    expect(routeOf({ kind: "notification", target: "", ...PLAIN })).toEqual({ action: "control" });
  });

  it("a notification to a peer that is not in the session is dropped", () => {
    for (const target of ["stranger", undefined]) {
      const fields = { kind: "notification", ...(target !== undefined && { target }) };
      expect(routeOf(fields)).toEqual({ action: "drop", reason: "target" });
    }
  });

  it("a notification between peers is dropped in plain text", () => {
    expect(routeOf({ kind: "notification", target: "b", ...PLAIN })).toEqual({
      action: "drop",
      reason: "plain",
    });
  });
});

describe("route: a request", () => {
  it("a request goes to its target, also if that is the sender", () => {
    expect(routeOf({ kind: "request", id: 1, target: "b" })).toEqual({
      action: "request",
      to: "b",
    });
    expect(routeOf({ kind: "request", id: 1, target: "a" })).toEqual({
      action: "request",
      to: "a",
    });
  });

  it("a request to a peer that is not in the session fails", () => {
    expect(routeOf({ kind: "request", id: 1, target: "stranger" })).toEqual({ action: "fail" });
    expect(routeOf({ kind: "request", id: 1, target: "" })).toEqual({ action: "fail" });
  });

  it("a request in plain text is dropped", () => {
    expect(routeOf({ kind: "request", id: 1, target: "b", ...PLAIN })).toEqual({
      action: "drop",
      reason: "plain",
    });
  });
});

it("a response is routed by its id, encrypted or not", () => {
  expect(routeOf({ kind: "response", id: "x" })).toEqual({ action: "respond" });
  expect(routeOf({ kind: "response-error", id: "x", content: { message: "no" } })).toEqual({
    action: "respond",
  });
});
