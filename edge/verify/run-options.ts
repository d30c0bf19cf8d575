/** What a verification is given, and what its parts share. */
import type { Store } from "../../shared/store/store.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Target } from "./model/target.ts";
import type { Credentials } from "./people/sign-in.ts";
import type { HttpProbe } from "./probes/http.ts";

/** The way to the store of the deployment. */
interface StoreAccess {
  readonly withStore: <T>(use: (store: Store) => Promise<T>) => Promise<T>;
  /** Undefined: the store is embedded. */
  readonly redis:
    | { readonly url: string; readonly ca: string | undefined; readonly prefix: string }
    | undefined;
}

export interface VerifyOptions {
  readonly target: Target;
  /** PEM of further authorities. */
  readonly ca: readonly string[] | undefined;
  readonly credentials: Credentials;
  /** Of an operator, for the dashboard. */
  readonly token: string | undefined;
  readonly store: StoreAccess | undefined;
  /** How long idle connections are watched, in ms. */
  readonly watchMs: number;
  /** A worker to drain, and one that the operator is asked to kill. */
  readonly drain: string | undefined;
  readonly kill: string | undefined;
  readonly signal: AbortSignal;
  /** What is being done, for a person who waits. */
  readonly onProgress: (text: string) => void;
}

export interface Run extends VerifyOptions {
  readonly http: HttpProbe;
  /** For what creates and removes something: an interruption must not cut it off half-way. */
  readonly patient: HttpProbe;
  /** Is aborted some seconds after `signal`. */
  readonly patience: AbortSignal;
  readonly cleanup: Cleanup;
}
