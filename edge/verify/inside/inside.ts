/**
 * What a deployment says of itself, read from its store or from its dashboard. Both give the same values; what one of them
 * does not know is undefined.
 */
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";

export interface Inside {
  readonly source: "redis" | "dashboard";
  /** Not while the store is new or was emptied: some processes may not have registered. */
  readonly isComplete: boolean;
  readonly processes: readonly InsideProcess[];
  /** Undefined: rings agree. */
  readonly ringProblem: string | undefined;
  /** Workers that a balancer does not reach. */
  readonly unreachable: readonly Unreachable[];
  /** Undefined: not known. */
  readonly statsd: StatsdState | undefined;
  /** Undefined: an edge of an older version does not tell. */
  readonly secret: SecretState | undefined;
}

export interface InsideProcess {
  readonly kind: "balancer" | "worker";
  readonly id: string;
  readonly version: string;
  /** Of a worker; undefined: not known. */
  readonly tag: WorkerTag | undefined;
  readonly state: string | undefined;
}

export type SecretState =
  | { readonly state: "one" }
  /** `problem` names the processes. */
  | { readonly state: "several"; readonly twoEdges: boolean; readonly problem: string };

export interface Unreachable {
  readonly worker: string;
  /** Which balancers, in words. */
  readonly from: string;
  readonly reason: string;
}

export type StatsdState =
  | { readonly state: "off" }
  | { readonly state: "sending"; readonly detail: string }
  | { readonly state: "away"; readonly detail: string };

/** Operators' commands, for watching a drain. */
export interface Controls {
  drain(worker: string): Promise<string>;
  resume(worker: string): Promise<string>;
  /** Undefined: there is no such worker. */
  stateOf(worker: string): Promise<string | undefined>;
}

/** Tag and name of workers, as far as they are known. */
export type WorkerNames = ReadonlyMap<WorkerTag, string>;
