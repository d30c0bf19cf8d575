/** What the probes see: values, from which judge/ makes findings. */
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";

/** Why there was no response. */
export type FailureReason =
  | "dns"
  | "refused"
  | "unreachable"
  | "timeout"
  | "tls"
  | "cut"
  | "not-http"
  | "interrupted"
  | "other";

export interface Failed {
  readonly outcome: "failed";
  readonly reason: FailureReason;
  /** The message of the system, untrusted. */
  readonly detail: string;
  readonly tookMs: number;
}

export interface Responded {
  readonly outcome: "response";
  readonly status: number;
  /** Lower case; a header that was sent several times is a list. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Its beginning. */
  readonly body: string;
  readonly tookMs: number;
}

export type HttpAnswer = Responded | Failed;

/** A handshake of engine.io: the worker that has accepted it, or what came instead. */
export type Handshake =
  | {
      readonly outcome: "open";
      readonly sid: string;
      /** Undefined: the server is not a worker of ours. */
      readonly tag: WorkerTag | undefined;
      readonly headers: Responded["headers"];
      /** From the upgrade, or the request, until engine.io's first packet. */
      readonly tookMs: number;
    }
  | HttpAnswer;

/** Something that was opened and left idle. */
export interface Silence {
  readonly what: "websocket" | "long poll";
  readonly watchedMs: number;
  readonly end:
    | { readonly how: "open" }
    /** A long poll that the edge has ended itself. */
    | { readonly how: "answered"; readonly afterMs: number }
    | { readonly how: "cut"; readonly afterMs: number; readonly detail: string }
    /** It never began. */
    | { readonly how: "not opened"; readonly detail: string };
}

/** The headers named `name`, each value on its own. */
export function headerValues(headers: Responded["headers"], name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}
