/**
 * Verifies members. Otherwise any program that can write to the store could send clients, and our probes, to any address
 * that a balancer reaches; and a process with another secret would refuse all requests.
 *
 * Balancers and workers apply the same rules, because their rings must be the same.
 */
import { isIP } from "node:net";
import type { WorkerId } from "../base/ids.ts";
import type { Log } from "../logs/log.ts";
import type { Counters } from "../metrics/metrics.ts";
import {
  hostOf,
  isLoopback,
  isUnusable,
  type Networks,
  PRIVATE_NETWORKS,
  parseNetworks,
} from "../net/networks.ts";
import type { MemberRecord } from "../store/member.ts";

export interface MemberVerification {
  /** The verified members. Counts each other one, and logs it once. */
  admit<Member extends MemberRecord>(members: readonly Member[]): readonly Member[];
  /** The members that the last call left out. */
  readonly refused: readonly RefusedMember[];
}

export interface RefusedMember {
  readonly id: WorkerId;
  readonly reason: RefusalReason;
}

export type RefusalReason =
  | "its CT_SECRET differs"
  | "its URL is invalid"
  | "its port is below 1024"
  | "its address is not allowed, see CT_WORKER_NETWORKS"
  | "its address is loopback, and the store is on another machine";

/** Refusals that are logged. A program that can write to the store can invent any number of names. */
const MAX_LOGGED = 1000;

export function createMemberVerification(deps: {
  /** `CT_WORKER_NETWORKS`. */
  readonly networks: readonly string[];
  /** Of the secrets that this process knows. */
  readonly secretFingerprints: readonly string[];
  /** The local address of the connection to the store; undefined: the store is on this machine. */
  readonly store: { readonly localAddress: string | undefined };
  readonly counters: Pick<Counters, "count">;
  readonly log: Log;
}): MemberVerification {
  const { counters, log, store } = deps;
  const allowed = parseWorkerNetworks(deps.networks);
  const logged = new Set<string>();
  let refused: readonly RefusedMember[] = [];

  function verify(member: MemberRecord): RefusalReason | undefined {
    if (!deps.secretFingerprints.includes(member.secretFingerprint)) return "its CT_SECRET differs";
    // No process calls a balancer; its status port is only displayed.
    if (member.kind === "balancer") return undefined;
    const isLocal = isOnThisMachine(store.localAddress);
    return judgeUrl(member.url, allowed, isLocal) ?? judgeUrl(member.statusUrl, allowed, isLocal);
  }

  function reportOnce(member: MemberRecord, reason: RefusalReason): void {
    const key = `${member.id}\n${reason}`;
    if (logged.has(key) || logged.size >= MAX_LOGGED) return;
    logged.add(key);
    counters.count("store.ignored", "member");
    const url = member.kind === "worker" ? { url: member.url } : {};
    log.error({ memberId: member.id, reason, ...url }, "ignoring a member");
  }

  return {
    admit(members) {
      const left: RefusedMember[] = [];
      const admitted = members.filter((member) => {
        const reason = verify(member);
        if (reason === undefined) return true;
        left.push({ id: member.id, reason });
        reportOnce(member, reason);
        return false;
      });
      refused = left;
      return admitted;
    },
    get refused() {
      return refused;
    },
  };
}

/** Whether the store is on this machine; `localAddress` is that of the connection to it. */
export function isOnThisMachine(localAddress: string | undefined): boolean {
  return localAddress === undefined || isLoopback(localAddress);
}

/** Lower ports belong to system services. */
export const FIRST_WORKER_PORT = 1024;

/**
 * Why a member at `url` must not be called, if so. `isStoreLocal`: the store is on this machine, and so are members with a
 * loopback address.
 */
export function judgeUrl(
  url: string,
  allowed: WorkerNetworks,
  isStoreLocal: boolean,
): RefusalReason | undefined {
  if (!URL.canParse(url)) return "its URL is invalid";
  const parsed = new URL(url);
  // URL omits the default port of the scheme, and keeps 0.
  if (Number(parsed.port) < FIRST_WORKER_PORT) return "its port is below 1024";
  const host = hostOf(parsed);
  if (isLoopback(host)) {
    return isStoreLocal
      ? undefined
      : "its address is loopback, and the store is on another machine";
  }
  if (isUnusable(host) || !allowed.has(host)) {
    return "its address is not allowed, see CT_WORKER_NETWORKS";
  }
  return undefined;
}

/** The hosts where workers may be. */
interface WorkerNetworks {
  has(host: string): boolean;
}

/**
 * The hosts of `CT_WORKER_NETWORKS`: addresses and ranges, names (`worker-1.example.com`), and all names below one
 * (`.workers.svc`). An empty list means the private networks. Names are not resolved, so only listed ones are allowed.
 * Throws `SettingError`.
 */
export function parseWorkerNetworks(list: readonly string[]): WorkerNetworks {
  if (list.length === 0) return PRIVATE_NETWORKS;
  const names = list.filter(isName).map((name) => name.toLowerCase());
  const networks: Networks = parseNetworks(
    "CT_WORKER_NETWORKS",
    list.filter((entry) => !isName(entry)),
  );
  return {
    has(host) {
      if (isIP(host) !== 0) return networks.has(host);
      return names.some((name) => (name.startsWith(".") ? host.endsWith(name) : host === name));
    },
  };
}

/** An entry with a colon or a slash, or of digits and dots, is meant as an address. */
function isName(entry: string): boolean {
  return !/[:/]/.test(entry) && !/^[\d.]+$/.test(entry);
}
