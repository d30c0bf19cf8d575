/** Which clients of a session that moves keep their WebSockets, and why the others do not. */
import { expect, test } from "vitest";
import { createCounters } from "../../../../shared/metrics/metrics.ts";
import type { MoveObstacle } from "../../../../worker/sessions/peers/peer.ts";
import {
  type MoveOutcome,
  moveText,
  prepareMove,
} from "../../../../worker/sessions/peers/prepare-move.ts";
import { silentLog } from "../../../support/logs.ts";
import { until } from "../../../support/until.ts";
import { createSkipClock } from "../skip-clock.ts";
import { connectedPeer, HeldConnection } from "./held-connection.ts";

function createMove(...connections: readonly HeldConnection[]) {
  const clock = createSkipClock();
  const counters = createCounters();
  const peers = connections.map(connectedPeer);
  const move = (obstacle?: MoveObstacle): Promise<MoveOutcome> =>
    prepareMove(peers, obstacle, { clock, counters, log: silentLog(), session: "S…" });
  return { clock, counters, peers, move };
}

test("WebSockets that can be moved are frozen, after the input of all of them has stopped", async () => {
  const order: string[] = [];
  const connections = [new HeldConnection(), new HeldConnection()];
  for (const connection of connections) {
    connection.stopInput = async () => void order.push("stop input");
    connection.freeze = async () => void order.push("freeze");
  }
  const { counters, peers, move } = createMove(...connections);
  expect(await move()).toEqual({ kept: 2, reconnecting: new Map() });
  expect(order).toEqual(["stop input", "stop input", "freeze", "freeze"]);
  expect(connections.flatMap(({ calls }) => calls)).toEqual([]);
  expect(peers.map(({ isConnected }) => isConnected)).toEqual([true, true]);
  expect(counters.value("worker.resume.given", "open")).toBe(2);
});

test.each<[when: "input" | "output", MoveObstacle]>([
  ["input", "half a message"],
  ["input", "gone"],
  ["output", "slow"],
  ["output", "gone"],
])(
  "a client whose %s cannot be stopped (%s) is thawed, counted and asked to reconnect, and the others keep their WebSockets",
  async (when, obstacle) => {
    const [stuck, other] = [new HeldConnection(), new HeldConnection()];
    stuck.obstacles = { [when]: obstacle };
    const { counters, peers, move } = createMove(stuck, other);
    expect(await move()).toEqual({ kept: 1, reconnecting: new Map([[obstacle, 1]]) });
    expect(stuck.calls.filter((call) => call !== "stop input" && call !== "freeze")).toEqual([
      "thaw",
      "migrate",
    ]);
    expect(other.calls).toEqual(["stop input", "freeze"]);
    expect(peers.map(({ isConnected }) => isConnected)).toEqual([false, true]);
    expect(counters.value("worker.resume.given", obstacle)).toBe(1);
    expect(counters.value("worker.resume.given", "open")).toBe(1);
  },
);

test("a client that polls is asked to reconnect before the WebSockets of the others are stopped", async () => {
  const order: string[] = [];
  const [polling, other] = [new HeldConnection(), new HeldConnection()];
  polling.isMovable = false;
  polling.obstacles = { input: "polling" };
  polling.migrate = () => {
    order.push("migrate");
    polling.close();
  };
  other.stopInput = async () => void order.push("stop input");
  const { counters, move } = createMove(polling, other);
  expect(await move()).toEqual({ kept: 1, reconnecting: new Map([["polling", 1]]) });
  expect(order).toEqual(["migrate", "stop input"]);
  expect(counters.value("worker.resume.given", "polling")).toBe(1);
});

test("all clients are asked to reconnect when the next owner cannot go on with WebSockets", async () => {
  const connections = [new HeldConnection(), new HeldConnection()];
  const { counters, move } = createMove(...connections);
  const reconnecting = new Map([["unable successor", 2]]);
  expect(await move("unable successor")).toEqual({ kept: 0, reconnecting });
  expect(connections.map(({ calls }) => calls)).toEqual([["migrate"], ["migrate"]]);
  expect(counters.value("worker.resume.given", "unable successor")).toBe(2);
});

test("a client that was asked to reconnect before is not frozen", async () => {
  const connection = new HeldConnection();
  connection.isMigrating = true;
  const { move } = createMove(connection);
  expect(await move()).toEqual({ kept: 0, reconnecting: new Map([["gone", 1]]) });
  expect(connection.calls).toEqual(["migrate"]);
});

test("a client that does not follow is disconnected after three seconds", async () => {
  const connection = new HeldConnection();
  connection.isMovable = false;
  connection.follows = false;
  const { clock, peers, move } = createMove(connection);
  const moved = move();
  await until("it is asked", () => connection.calls.includes("migrate"));
  clock.skip(3000);
  await moved;
  expect(connection.calls).toEqual(["stop input", "migrate", "close"]);
  expect(peers[0]?.isConnected).toBe(false);
});

test.each<[kept: number, reconnecting: [MoveObstacle, number][], text: string]>([
  [0, [], ""],
  [1, [], ", 1 connection kept open"],
  [3, [], ", 3 connections kept open"],
  [2, [["polling", 1]], ", 2 of 3 connections kept open, 1 had to reconnect (polling 1)"],
  [0, [["no link", 1]], ", 0 of 1 connection kept open, 1 had to reconnect (no link 1)"],
  [
    4,
    [
      ["slow", 1],
      ["polling", 2],
    ],
    ", 4 of 7 connections kept open, 3 had to reconnect (polling 2, slow 1)",
  ],
])("the history of a session says how many connections stayed open: %s, %j", (kept, why, text) => {
  expect(moveText({ kept, reconnecting: new Map(why) })).toBe(text);
});
