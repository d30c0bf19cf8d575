/**
 * Which members are believed. Whoever can write to the store could otherwise send clients, and our probes, to any address
 * that a balancer reaches; and a process with another secret would only refuse what it is sent.
 *
 * Balancers and workers use the same rules, because their rings must be the same.
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
  /** Those that are believed. Each other one is counted and named in the log once. */
  admit<Member extends MemberRecord>(members: readonly Member[]): readonly Member[];
  /** Who was left out the last time, and why. */
  readonly refused: readonly RefusedMember[];
}

export interface RefusedMember {
  readonly id: WorkerId;
  readonly reason: RefusalReason;
}

export type RefusalReason =
  | "its CT_SECRET is another one"
  | "its url is none"
  | "its port is below 1024"
  | "its address is not allowed, see CT_WORKER_NETWORKS"
  | "its address is loopback, and the store is on another machine";

/** Refusals that are remembered as told. Whoever can write to the store can make up any number of names. */
const MAX_TOLD = 1000;

export function createMemberVerification(needs: {
  /** `CT_WORKER_NETWORKS`. */
  readonly networks: readonly string[];
  /** Of this process's own secret. */
  readonly secretFingerprint: string;
  /** This machine's address on its way to the store; undefined: the store is on this machine. */
  readonly store: { readonly localAddress: string | undefined };
  readonly counters: Pick<Counters, "count">;
  readonly log: Log;
}): MemberVerification {
  const { counters, log, store } = needs;
  const allowed = parseWorkerNetworks(needs.networks);
  const told = new Set<string>();
  let refused: readonly RefusedMember[] = [];

  function judge(member: MemberRecord): RefusalReason | undefined {
    if (member.secretFingerprint !== needs.secretFingerprint) return "its CT_SECRET is another one";
    // Nobody calls a balancer: where its status port is, is shown to people.
    if (member.kind === "balancer") return undefined;
    const isLocal = isOnThisMachine(store.localAddress);
    return judgeUrl(member.url, allowed, isLocal) ?? judgeUrl(member.statusUrl, allowed, isLocal);
  }

  function tell(member: MemberRecord, reason: RefusalReason): void {
    const key = `${member.id}\n${reason}`;
    if (told.has(key) || told.size >= MAX_TOLD) return;
    told.add(key);
    counters.count("store.ignored", "member");
    const url = member.kind === "worker" ? { url: member.url } : {};
    log.error({ memberId: member.id, reason, ...url }, "ignoring a member");
  }

  return {
    admit(members) {
      const left: RefusedMember[] = [];
      const admitted = members.filter((member) => {
        const reason = judge(member);
        if (reason === undefined) return true;
        left.push({ id: member.id, reason });
        tell(member, reason);
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

/** Whether a process whose end of the connection to the store is `localAddress` is on the store's machine. */
export function isOnThisMachine(localAddress: string | undefined): boolean {
  return localAddress === undefined || isLoopback(localAddress);
}

/** Ports below are of the system's services, and no worker is one. */
export const FIRST_WORKER_PORT = 1024;

/**
 * What speaks against calling a member at `url`. `isStoreLocal`: the store is on this machine, so members on loopback are
 * on it too.
 */
export function judgeUrl(
  url: string,
  allowed: WorkerNetworks,
  isStoreLocal: boolean,
): RefusalReason | undefined {
  if (!URL.canParse(url)) return "its url is none";
  const parsed = new URL(url);
  // URL leaves the scheme's own port out, and a 0 in.
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

/** Hosts that workers may have. */
export interface WorkerNetworks {
  has(host: string): boolean;
}

/**
 * The hosts of `CT_WORKER_NETWORKS`: addresses and ranges, names (`worker-1.example.com`), and all names below one
 * (`.workers.svc`). An empty list stands for the private networks: what a name leads to is not asked, so none is allowed
 * that is not listed. Throws `SettingError`.
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

/** What has a colon, a slash, or digits and dots only, is or should be an address. */
function isName(entry: string): boolean {
  return !/[:/]/.test(entry) && !/^[\d.]+$/.test(entry);
}
