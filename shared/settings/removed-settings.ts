/**
 * Settings of earlier versions. One that is still set stops the start of the programs that read it, with one line that says
 * what replaces it; `check` reports it too, and the chart refuses it.
 */
import type { Role } from "./setting.ts";

interface RemovedSetting {
  readonly env: `CT_${string}`;
  readonly roles: readonly Role[];
  /** What to do, after "… is no longer a setting." */
  readonly instead: string;
}

const BALANCER: readonly Role[] = ["edge", "balancer"];

/** By the names that they had, which give their flags. */
export const REMOVED_SETTINGS: Readonly<Record<string, RemovedSetting>> = {
  maxFields: {
    env: "CT_MAX_FIELDS",
    roles: BALANCER,
    instead: "Remove it: a request may have 200 headers.",
  },
  maxChunkExtensionBytes: {
    env: "CT_MAX_CHUNK_EXTENSION_BYTES",
    roles: BALANCER,
    instead: "Remove it: the chunk extensions of a request may have 16384 bytes.",
  },
  maxTrailerBytes: {
    env: "CT_MAX_TRAILER_BYTES",
    roles: BALANCER,
    instead: "Remove it: the trailers of a request may have 8192 bytes.",
  },
  tlsHandshakeTimeoutMs: {
    env: "CT_TLS_HANDSHAKE_TIMEOUT_MS",
    roles: BALANCER,
    instead: "Remove it, and set CT_HEADER_TIMEOUT_MS, which limits the TLS handshake too.",
  },
};
