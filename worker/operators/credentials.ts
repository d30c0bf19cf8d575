/**
 * The operator's credentials for the dashboard, statistics and metrics. One user name and password for the whole edge: those
 * of `CT_DASHBOARD_*`, else of `CT_LOGS_*`, else the user `ctuser` and a generated password, which is logged once and stored
 * as a digest.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { oneFlight } from "../../shared/base/one-flight.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { type BasicCredentials, readBasic } from "../../shared/net/basic-auth.ts";
import {
  type CredentialSettings,
  configuredCredentials,
  DEFAULT_USER,
} from "../../shared/settings/operator-credentials.ts";
import { PERMISSIONS } from "../../shared/settings/operator-roles.ts";
import type { OperatorToken } from "../../shared/settings/operator-tokens.ts";
import type { Store } from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import { createFailures } from "./failures.ts";
import type { Operator } from "./operator.ts";

export type Credentials = ReturnType<typeof createCredentials>;

export type Verdict =
  | { readonly outcome: "granted"; readonly operator: Operator }
  | { readonly outcome: "refused" }
  | { readonly outcome: "flood"; readonly retryAfterS: number };

interface Deps {
  readonly settings: CredentialSettings;
  /** Of programs. */
  readonly tokens?: readonly OperatorToken[];
  readonly store: Pick<Store, "put">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** SHA-256 digests; nothing else of a password is kept. */
interface Digests {
  readonly user: Buffer;
  readonly password: Buffer;
  /** Colons in the user name: RFC 7617 §2 forbids them, but an operator who chose such a name must be able to sign in. */
  readonly colons: number;
}

const PASSWORD_BYTES = 18;
/** Key of the generated password's digest in the store. */
const AGREEMENT = "credentials/password";

/** Each failure in a minute is answered this much later than the one before; with the limit, 100 guesses take 3 minutes. */
const DELAY_STEP_MS = 50;
const MAX_DELAY_MS = 2000;
const MAX_FAILURES_PER_MINUTE = 100;
/** Delayed responses at a time, so that a flood from many addresses cannot fill the memory. */
const MAX_DELAYED = 1000;
/** Wrong credentials make a worker read the password's digest from the store again, at most this often. */
const REREAD_MS = 1000;

export function createCredentials(deps: Deps) {
  const { clock, counters } = deps;
  const failures = createFailures();
  const configured = digestsOf(deps.settings);
  const generated = createGeneratedPassword(deps);
  const programs = createPrograms(deps.tokens ?? []);
  let delayed = 0;

  async function isRight(given: BasicCredentials): Promise<boolean> {
    if (configured !== undefined) return isSame(given, configured);
    const cached = generated.cached ?? (await generated.read());
    if (cached !== undefined && isSame(given, cached)) return true;
    const current = await generated.reread();
    return current !== undefined && isSame(given, current);
  }

  return {
    /**
     * Checks the `Authorization` header of a request from `address`. Right credentials are granted at once, whatever came from
     * that address before. Each wrong attempt is answered later than the one before; `flood` after more than 100 in a minute.
     */
    async check(authorization: string | undefined, address: string): Promise<Verdict> {
      // A browser's first request has no credentials; that is not a failed attempt.
      if (authorization === undefined) return { outcome: "refused" };
      const program = programs.find(authorization);
      if (program !== undefined) return { outcome: "granted", operator: program };
      const given = readBasic(authorization, configured?.colons ?? 0);
      if (given !== undefined && (await isRight(given))) {
        const name = given.user.toString("utf8");
        return {
          outcome: "granted",
          operator: { name, way: "password", permissions: PERMISSIONS },
        };
      }
      counters.count("worker.credentials_refused");
      const { count, leftMs } = failures.add(address, clock.nowMs());
      if (count > MAX_FAILURES_PER_MINUTE) {
        return { outcome: "flood", retryAfterS: Math.ceil(leftMs / 1000) };
      }
      const delayMs = Math.min(MAX_DELAY_MS, (count - 1) * DELAY_STEP_MS);
      if (delayMs > 0 && delayed < MAX_DELAYED) {
        delayed++;
        await sleep(clock, delayMs).finally(() => delayed--);
      }
      return { outcome: "refused" };
    },
    /** Generates and logs a password when none is set. Never rejects while the store is away. */
    async start(): Promise<void> {
      if (configured === undefined) await generated.read();
    },
  };
}

// --- the expected credentials ---

function digestsOf(settings: CredentialSettings): Digests | undefined {
  const configured = configuredCredentials(settings);
  if (configured === undefined) return undefined;
  const { user, password } = configured;
  return { user: digest(user), password: digest(password), colons: user.split(":").length - 1 };
}

/** The password that is generated when none is set: by the first process that needs it, and the same for all. */
function createGeneratedPassword({ store, clock, log }: Deps) {
  let cached: Digests | undefined;
  /** Proposed again when the store did not respond: the first proposal may have been stored. */
  let proposed: string | undefined;
  let readMs = Number.NEGATIVE_INFINITY;

  /** Undefined when it was never read and the store is away. */
  function read(): Promise<Digests | undefined> {
    readMs = clock.nowMs();
    return readOrPropose();
  }

  const readOrPropose = oneFlight(async (): Promise<Digests | undefined> => {
    if (cached === undefined) proposed ??= randomBytes(PASSWORD_BYTES).toString("base64url");
    // A store that was flushed gets the digest that this worker remembers.
    const proposal = (cached?.password ?? digest(proposed ?? "")).toString("hex");
    const kept = await unlessAway(store.put({ kind: "agreed", key: AGREEMENT, text: proposal }));
    if (kept === undefined) return cached;
    if (!/^[0-9a-f]{64}$/.test(kept)) {
      log.error(
        { name: AGREEMENT },
        "the store's digest of the dashboard's password is malformed, so no generated password is accepted; set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD",
      );
      return cached;
    }
    if (proposed !== undefined) logOutcome(kept === proposal ? proposed : undefined);
    proposed = undefined;
    cached = { user: digest(DEFAULT_USER), password: Buffer.from(kept, "hex"), colons: 0 };
    return cached;
  });

  function logOutcome(password: string | undefined): void {
    if (password === undefined) {
      log.info(
        { user: DEFAULT_USER },
        "the dashboard's password was generated and logged earlier; set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD to choose another",
      );
      return;
    }
    // In the message, because a field of this name is masked: this is the one place where a password is logged.
    log.info(
      `the dashboard's user is ${DEFAULT_USER} and its password ${password} (generated now, shown only here); set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD to choose others`,
    );
  }

  return {
    get cached() {
      return cached;
    },
    read,
    /** As `read`, unless that was done a moment ago. */
    reread: async () => (clock.nowMs() - readMs >= REREAD_MS ? read() : cached),
  };
}

// --- programs with tokens ---

/** RFC 6750 §2.1. */
function createPrograms(tokens: readonly OperatorToken[]) {
  const programs = tokens.map(({ name, scopes, token }) => ({
    digest: digest(token),
    operator: { name, way: "token", permissions: scopes } satisfies Operator,
  }));
  return {
    find(authorization: string): Operator | undefined {
      const [, given] = /^bearer +(\S+) *$/i.exec(authorization) ?? [];
      if (given === undefined) return undefined;
      const digestOfGiven = digest(given);
      // All are compared, so that the time does not tell which one is nearly right.
      const found = programs.filter((program) => timingSafeEqual(program.digest, digestOfGiven));
      return found[0]?.operator;
    },
  };
}

// --- the given credentials ---

/** Compares digests of equal length, and always both, so that the time reveals nothing about the expected credentials. */
function isSame(given: BasicCredentials, expected: Digests): boolean {
  const isUser = timingSafeEqual(digest(given.user), expected.user);
  const isPassword = timingSafeEqual(digest(given.password), expected.password);
  return isUser && isPassword;
}

function digest(text: string | Buffer): Buffer {
  return createHash("sha256").update(text).digest();
}
