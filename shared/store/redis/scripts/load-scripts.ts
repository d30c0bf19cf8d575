/**
 * Loads the Lua scripts: each is composed of constants, shared files and its own. Its guarantees are in its file; constants
 * of both languages come from here.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { productFile } from "../../../base/product-files.ts";
import { REFUSED_HEARTBEAT_AGE_MS } from "../../ownership.ts";
import { MAX_REPORT_BYTES } from "../../schemas.ts";
import {
  DEFERRABLE_OPERATIONS,
  HOSTED_COUNTER,
  MAX_REPORTS,
  MAX_SIGN_INS_OF_KEY,
  MEMBER_LEASE_MS,
  SETTLING_MS,
  UNOPENED_SESSION_MS,
} from "../../store.ts";
import * as limits from "../values/limits.ts";

/** The scripts, named as the operations that they are, each with the shared files that it needs. */
const SCRIPTS = {
  greet: [],
  timeMs: [],
  announce: [],
  renew: [],
  withdraw: [],
  members: [],
  lead: [],
  createSession: ["session"],
  resumeSession: ["session", "ownership"],
  reassertSession: ["session", "ownership"],
  findSession: ["session"],
  sessionsOf: [],
  owners: [],
  changeSession: ["session"],
  putTicket: ["ticket"],
  readTicket: ["ticket"],
  answerTicket: ["ticket"],
  dropTicket: ["ticket"],
  ticketsOf: ["ticket"],
  put: ["value"],
  get: ["value"],
  list: ["value"],
  putSignIn: ["value", "sign_in"],
  claimDueSignIns: ["sign_in"],
  findSignIns: ["sign_in"],
  endSignIn: ["value", "sign_in"],
  addToCounters: [],
  readCounters: [],
  appendToStream: [],
  readStream: [],
} as const satisfies Record<string, readonly string[]>;

export type ScriptName = keyof typeof SCRIPTS;

/** Those that `heartbeat.lua` can run. */
const OF_HEARTBEATS = ["renew", ...DEFERRABLE_OPERATIONS] as const satisfies readonly ScriptName[];

export type HeartbeatScript = (typeof OF_HEARTBEATS)[number];

export function isHeartbeatScript(name: ScriptName): name is HeartbeatScript {
  return OF_HEARTBEATS.some((one) => one === name);
}

export interface Script {
  readonly name: ScriptName | "heartbeat";
  readonly source: string;
  /** For EVALSHA. */
  readonly sha1: string;
}

/** Name of the channel of changes, after the prefix. */
export const CHANNEL = "changes";

/** Reads all scripts. */
export function loadScripts(): Readonly<Record<Script["name"], Script>> {
  const scripts = (Object.keys(SCRIPTS) as ScriptName[]).map((name) =>
    toScript(name, composeLua(["prelude", ...SCRIPTS[name], fileOf(name)])),
  );
  scripts.push(toScript("heartbeat", composeHeartbeat()));
  return Object.fromEntries(scripts.map((script) => [script.name, script])) as Record<
    Script["name"],
    Script
  >;
}

function toScript(name: Script["name"], source: string): Script {
  return { name, source, sha1: createHash("sha1").update(source).digest("hex") };
}

export function composeLua(files: readonly string[]): string {
  return [constantsInLua(), ...files.map(readLua)].join("\n");
}

/** Each script becomes a function, whose parameter takes the place of the global ARGV. */
function composeHeartbeat(): string {
  const shared = new Set(OF_HEARTBEATS.flatMap((name): readonly string[] => SCRIPTS[name]));
  const functions = OF_HEARTBEATS.map(
    (name) => `scripts['${name}'] = function(ARGV)\n${readLua(fileOf(name))}\nend`,
  );
  return [
    composeLua(["prelude", ...shared]),
    "local scripts = {}",
    ...functions,
    readLua("heartbeat"),
  ].join("\n");
}

/** `changeSession` is in change_session.lua. */
function fileOf(name: ScriptName): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function readLua(name: string): string {
  return readFileSync(productFile(`shared/store/redis/scripts/${name}.lua`), "utf8");
}

function constantsInLua(): string {
  const constants = {
    ...limits,
    CHANNEL,
    LEASE_MS: MEMBER_LEASE_MS,
    SETTLING_MS,
    UNOPENED_MS: UNOPENED_SESSION_MS,
    HOSTED_COUNTER,
    MAX_REPORTS,
    MAX_REPORT_BYTES,
    MAX_SIGN_INS_OF_KEY,
    REFUSED_HEARTBEAT_AGE_MS,
  };
  return Object.entries(constants)
    .map(([name, value]) => `local ${name} = ${JSON.stringify(value)}`)
    .join("\n");
}
