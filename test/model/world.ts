/**
 * One run: an edge is started, a plan is done to it, everything is made well again, and then it must have come right.
 */
import { newPeerId } from "../../shared/base/ids.ts";
import type { ResumeCause, SessionHead } from "../../shared/store/store.ts";
import { startBalancer } from "./balancer.ts";
import { withChance } from "./chance.ts";
import { type Client, type Room, startClient } from "./client.ts";
import { createKernel, createProcess } from "./kernel.ts";
import { createNetwork, type Place } from "./network.ts";
import { describeStep, FAULTS_UNTIL_MS, type Plan, type Step } from "./plan.ts";
import { createRandom } from "./random.ts";
import { createStoreHost, STORE_MACHINE } from "./store.ts";
import type { Surroundings } from "./surroundings.ts";
import { createModelTokens } from "./tokens.ts";
import { createWatch, type Failure } from "./watch.ts";
import { startWorker, type WorkerIncarnation } from "./worker.ts";

/** Clients come when the first processes are up. */
const CLIENTS_FROM_MS = 700;
/**
 * So long after the last fault everybody must be served: a store that settles (8 s), a lease that runs out (5 s), and
 * clients between two tries (5 s and a half) one after the other, twice.
 */
const BOUND_MS = 35_000;
/** At least so long, because what is wrong may take a lease to show; then as soon as nobody waits any more. */
const QUIET_MS = 10_000;
const STEP_MS = 500;
/** Time for a word to reach everybody. */
const WORD_MS = 3000;
/** So long after the last client sessions must be closed: missing for 10 s, then 30 s for peers, and some time to elect. */
const FORGET_MS = 75_000;
/** That takes longer than all the rest of a run, so it is looked at in some runs only. */
const FORGET_ONE_IN = 8;
/** Tombstones and revoked tokens live about as long as a token, a day. */
const TOMBSTONES_MS = 25 * 3600 * 1000;
/**
 * What a worker was told by its balancers may be so old: a balancer notices after 2 s that its store does not answer, and
 * what it said counts for 3.5 s (worker/balancers/outage-reports.ts).
 */
const REPORT_LAG_MS = 7000;
const LOOK_MS = 500;
const ENDS: ReadonlySet<Step["act"]> = new Set(["kill", "terminate", "replace"]);

export interface Run {
  readonly failure: Failure | undefined;
  readonly history: readonly string[];
  readonly causes: ReadonlySet<ResumeCause>;
}

export async function runPlan(plan: Plan, options = { record: false }): Promise<Run> {
  const random = createRandom(plan.seed + 1);
  return withChance(random, () => createWorld(plan, options.record).run());
}

function createWorld(plan: Plan, record: boolean) {
  const random = createRandom(plan.seed + 2);
  const kernel = createKernel();
  const startMs = kernel.nowMs;
  const watch = createWatch(kernel, { record });
  const network = createNetwork(kernel, random);
  const stores = createStoreHost({ kernel, network, random, watch });
  const needs: Surroundings = { kernel, network, stores, watch, random };
  const tokens = createModelTokens({ wallMs: () => kernel.wallMs });
  const places = new Map<string, Place>();
  const lives = new Map<string, WorkerIncarnation>();
  /** Those whose id another one has taken. */
  const replaced: Place[] = [];
  const rooms: Room[] = [];
  const clients = new Map<string, Client>();
  const cuts = new Set<string>();
  const splitOffMs = new Map<string, number>();

  const isWorker = (machine: string): boolean => machine.startsWith("w");
  const isBalancer = (machine: string): boolean => machine.startsWith("b");
  const isAlive = (machine: string): boolean => {
    const state = places.get(machine)?.process.state;
    return state !== undefined && state !== "dead";
  };
  const alive = (is: (machine: string) => boolean): string[] =>
    [...places.keys()].filter((machine) => is(machine) && isAlive(machine));

  const running = (): string[] =>
    alive(isWorker).filter((machine) => places.get(machine)?.process.state === "running");

  // --- processes and people ---

  function start(machine: string, at = machine): void {
    if (isAlive(machine)) return;
    begin(machine, at);
  }

  function replace(machine: string): void {
    const place = places.get(machine);
    if (place !== undefined && isAlive(machine)) replaced.push(place);
    begin(machine, machine);
  }

  function begin(machine: string, at: string): void {
    const place = { machine, process: createProcess(kernel, machine) };
    places.set(machine, place);
    if (isBalancer(machine)) {
      startBalancer(place, needs);
      return;
    }
    const wanted = [`${at}:3001`, `${machine}:3001`, `${machine}:3002`, `${machine}:3003`];
    const free = wanted.find((address) => !network.listensAt(address));
    if (free !== undefined) lives.set(machine, startWorker(place, free, needs));
  }

  function arrive(room: Room, isHost: boolean): Client {
    const machine = `${room.name}c${room.clients.length + 1}`;
    const place = { machine, process: createProcess(kernel, machine) };
    const client = startClient(
      place,
      { room, isHost },
      { ...needs, balancers: () => alive(isBalancer) },
    );
    room.clients.push(client);
    clients.set(machine, client);
    if (!isHost && room.clock > 0) invite(client);
    return client;
  }

  /** The host has let it in. */
  function invite(client: Client): void {
    const { room } = client;
    const { sessionId } = room;
    if (sessionId === undefined) return;
    const clock = room.clock++;
    const user = { id: client.name, name: client.name };
    const claims = { sessionId, clock, peerId: newPeerId(), user, host: false };
    tokens.signRoom(claims).then((token) => client.invite(token), watch.bug);
  }

  function openRoom(name: string, size: number): void {
    const room: Room = {
      name,
      clients: [],
      sessionId: undefined,
      clock: 0,
      onHosted() {
        if (room.clock > 0) return;
        room.clock = 1;
        for (const client of room.clients) if (!client.isHost) invite(client);
      },
    };
    rooms.push(room);
    for (let i = 0; i < size; i++) arrive(room, i === 0);
  }

  // --- steps ---

  function take(step: Step): void {
    watch.note(`-- ${describeStep(step)}`);
    switch (step.act) {
      case "kill":
        places.get(step.machine)?.process.kill();
        break;
      case "stop":
        processOf(step.machine)?.stop();
        break;
      case "go on":
        processOf(step.machine)?.goOn();
        for (const { machine, process } of replaced) if (machine === step.machine) process.goOn();
        break;
      case "replace":
        replace(step.machine);
        break;
      case "terminate":
        if (isAlive(step.machine)) lives.get(step.machine)?.terminate();
        break;
      case "start":
        start(step.machine, step.at);
        break;
      case "cut":
        cuts.add(`${step.from} ${step.to}`);
        network.cut(step.from, step.to);
        break;
      case "heal":
        heal(step.from, step.to);
        break;
      case "store":
        if (step.how === "down") stores.down();
        else if (step.how === "flush") stores.flush();
        else stores.up(step.how);
        break;
      case "drop":
        clients.get(step.client)?.drop();
        break;
      case "leave":
        clients.get(step.client)?.leave("politely");
        break;
      case "vanish":
        clients.get(step.client)?.leave("silently");
        break;
      case "join": {
        const room = rooms.find(({ name }) => name === step.room);
        if (room !== undefined) arrive(room, false);
        break;
      }
    }
  }

  function processOf(machine: string) {
    return machine === STORE_MACHINE ? stores.process : places.get(machine)?.process;
  }

  function heal(from: string, to: string): void {
    if (cuts.delete(`${from} ${to}`)) network.heal(from, to);
  }

  /**
   * The end of all faults. Who is dead may stay so, and a worker that hangs may go on hanging, but for the last of its kind.
   */
  function makeWell(): void {
    watch.note("-- all is made well");
    for (const cut of [...cuts]) {
      const [from = "", to = ""] = cut.split(" ");
      heal(from, to);
    }
    stores.goOn();
    stores.up("kept");
    const hangs = random.oneIn(2) && running().length > 0;
    for (const { machine, process } of [...places.values(), ...replaced]) {
      if (!hangs || !isWorker(machine)) process.goOn();
    }
    if (alive(isWorker).length === 0) start("w1");
    if (alive(isBalancer).length === 0) start("b1");
  }

  // --- what the watch asks ---

  function isCutOff(machine: string): boolean {
    return (
      !stores.isUp || network.isCut(machine, STORE_MACHINE) || network.isCut(STORE_MACHINE, machine)
    );
  }

  function isSplitOffNow(machine: string): boolean {
    if (!isCutOff(machine)) return false;
    const heard = alive(isBalancer).filter(
      (balancer) => !network.isCut(balancer, machine) && !network.isCut(machine, balancer),
    );
    return heard.length > 0 && heard.every(isCutOff);
  }

  function look(): void {
    for (const machine of alive(isWorker)) {
      if (isSplitOffNow(machine)) splitOffMs.set(machine, kernel.nowMs);
    }
    kernel.after(LOOK_MS, look);
  }

  const touchesStore = plan.steps.some(
    (step) =>
      step.act === "store" ||
      (step.act === "stop" && step.machine === STORE_MACHINE) ||
      (step.act === "cut" && (step.from === STORE_MACHINE || step.to === STORE_MACHINE)),
  );
  const endsProcesses = plan.steps.some(({ act }) => ENDS.has(act));
  const delaysOwners = plan.steps.some(({ act }) => act === "stop" || act === "cut");
  const forgets = plan.steps.some(
    (step) => step.act === "store" && (step.how === "flush" || step.how === "lost"),
  );
  watch.facts = {
    isSplitOff: ({ place: { machine } }) =>
      isSplitOffNow(machine) ||
      kernel.nowMs - (splitOffMs.get(machine) ?? Number.NEGATIVE_INFINITY) < REPORT_LAG_MS,
    // An owner that ends before the store knows of the session, or that comes too late to say what was forgotten.
    isMuddled: forgets && plan.steps.some(({ act }) => act === "replace"),
    mayLoseSessions: () => (touchesStore && endsProcesses) || (forgets && delaysOwners),
  };

  // --- the end ---

  const connected = (): Client[] =>
    [...clients.values()].filter(({ state }) => state === "connected");

  const waiting = (): Client[] =>
    [...clients.values()].filter(({ state }) => state === "connecting");

  function checkServed(): void {
    for (const machine of running()) {
      const others = replaced.filter((place) => place.machine === machine);
      if (others.every(({ process }) => process.state !== "running")) continue;
      watch.fail("two lives", `two processes with the id ${machine} go on`);
    }
    for (const { name } of waiting()) watch.fail("not served", `${name} is not connected`);
    for (const client of connected()) client.say(`${client.name} at last`);
  }

  function checkHeard(): void {
    for (const client of connected()) {
      for (const other of connected()) {
        if (other === client || other.room !== client.room) continue;
        if (watch.hasHeard(other, `${client.name} at last`)) continue;
        watch.fail("not served", `${other.name} does not hear ${client.name}`);
      }
    }
  }

  function checkForgotten(): void {
    for (const [key, value] of stores.state.entries()) {
      if (!key.startsWith("session/")) continue;
      const { id, owner, state } = value as SessionHead;
      if (state === "closed") continue;
      watch.fail("left behind", `session ${id} of ${owner} is ${state} although nobody is in it`);
    }
    for (const machine of running()) {
      const count = lives.get(machine)?.registry.sessionIds.length ?? 0;
      if (count > 0) watch.fail("left behind", `${machine} still has ${count} sessions`);
    }
  }

  function checkEmpty(): void {
    const { state, time } = stores;
    const later = {
      wallMs: time.wallMs + TOMBSTONES_MS,
      nowMs: time.nowMs + TOMBSTONES_MS,
    };
    for (let i = 0; i < 3; i++) state.sweep(later);
    for (const [key] of state.entries()) {
      if (key.startsWith("event/") || key.startsWith("counter/")) continue;
      watch.fail("left behind", `the store keeps ${key}`);
    }
    const { members } = state.operations.members(later);
    if (members.length > 0) watch.fail("left behind", `${members.length} members are left`);
  }

  async function until(ms: number): Promise<boolean> {
    await kernel.runUntil(startMs + ms, () => watch.failure !== undefined);
    return watch.failure === undefined;
  }

  async function goThrough(): Promise<void> {
    for (let i = 1; i <= plan.workers; i++) start(`w${i}`);
    for (let i = 1; i <= plan.balancers; i++) start(`b${i}`);
    if (touchesStore) look();
    for (const [i, size] of plan.rooms.entries()) {
      kernel.after(CLIENTS_FROM_MS + 100 * i, () => openRoom(`r${i + 1}`, size));
    }
    for (const step of plan.steps) kernel.after(step.atMs, () => take(step));
    if (!(await until(FAULTS_UNTIL_MS))) return;
    makeWell();
    let endMs = FAULTS_UNTIL_MS + QUIET_MS;
    if (!(await until(endMs))) return;
    for (; waiting().length > 0 && endMs < FAULTS_UNTIL_MS + BOUND_MS; endMs += STEP_MS) {
      if (!(await until(endMs))) return;
    }
    checkServed();
    endMs += WORD_MS;
    if (!(await until(endMs))) return;
    checkHeard();
    if (plan.seed % FORGET_ONE_IN !== 0) return;
    // Some sessions are left by their owner and their people together.
    const [first, second] = running();
    if (first !== undefined && second !== undefined) places.get(first)?.process.kill();
    for (const client of clients.values()) {
      client.leave(random.oneIn(2) ? "politely" : "silently");
    }
    if (!(await until(endMs + FORGET_MS))) return;
    checkForgotten();
    checkEmpty();
  }

  return {
    async run(): Promise<Run> {
      await goThrough();
      for (const { process } of [...places.values(), ...replaced]) process.kill();
      return { failure: watch.failure, history: watch.history, causes: watch.causes };
    },
  };
}
