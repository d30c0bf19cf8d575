/**
 * Asks identity providers again whether the people who signed in there still may. Every worker takes some of the sign-ins that are
 * due; each is checked by one worker at a time, because a refresh token may be good only once.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import { type RoleGroups, roleOf } from "../../../shared/settings/operator-roles.ts";
import {
  type EndCause,
  endSignIn,
  findSignIns,
  type SignIn,
} from "../../../shared/sign-ins/sign-in.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import {
  type Claims,
  groupsOf,
  type Identity,
  noGroups,
  readIdentity,
  readPerson,
} from "./identity.ts";
import type { Access, Checked, ProviderClient } from "./provider-client.ts";
import { ProviderError } from "./provider-error.ts";
import type { SignInRecords } from "./sign-in-records.ts";

export interface Rechecks {
  /** Resolves when the checks under way are written. */
  close(): Promise<void>;
}

export interface RecheckSettings {
  /** Between two checks of a sign-in. 0: none. */
  readonly recheckMs: number;
  /** How long after a missed check a sign-in lasts, while its provider does not respond. */
  readonly graceMs: number;
}

/** Checked at the same time by one worker. */
const AT_ONCE = 8;
const MAX_POLL_MS = 5000;
/** Until the next check of a sign-in whose provider did not respond. */
const RETRY_MS = 60_000;
/** A provider that did not respond is not asked for this long. */
const DOWN_MS = 10_000;
/** Failures of one provider are logged once in this time, with their number. */
const LOG_MS = 60_000;

interface RechecksDeps {
  readonly providers: readonly ProviderClient[];
  readonly records: Pick<SignInRecords, "claimDue" | "accessOf" | "write" | "writeLate" | "read">;
  readonly store: Pick<Store, "endSignIn" | "appendToStream" | "signInsOf">;
  readonly settings: RecheckSettings;
  readonly operatorRoles?: RoleGroups | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** 0 to below 1. */
  readonly random?: () => number;
}

/** What a check means for a sign-in. */
type Verdict =
  | { readonly outcome: "confirmed" }
  | { readonly outcome: "ended"; readonly cause: EndCause; readonly message: string }
  /** `isUncertain`: the provider may have taken the refresh token. `isElsewhere`: only another worker can ask. */
  | {
      readonly outcome: "failed";
      readonly error: ProviderError;
      readonly isUncertain?: boolean;
      readonly isElsewhere?: boolean;
    };

export function startRechecks(deps: RechecksDeps): Rechecks {
  const { clock, log, settings, records, random = Math.random } = deps;
  const pollMs = Math.min(MAX_POLL_MS, settings.recheckMs / 4);
  const failures = createFailures(deps);
  let isClosed = settings.recheckMs <= 0 || deps.providers.length === 0;
  let timer: Timer | undefined;
  let running = Promise.resolve();
  let notBeforeMs = 0;

  function runLater(delayMs: number): void {
    if (isClosed) return;
    timer = clock.after(delayMs, () => {
      running = run();
    });
  }

  async function run(): Promise<void> {
    let found = 0;
    try {
      await records.writeLate();
      if (clock.nowMs() >= notBeforeMs) {
        const due = await records.claimDue(AT_ONCE);
        found = due.length;
        await Promise.all(due.map((signIn) => recheck(deps, signIn, failures)));
      }
    } catch (error) {
      // Those that were claimed are due again when their lease is over. Before that, each worker writes what it could not.
      notBeforeMs = clock.nowMs() + 2 * pollMs;
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "sign-ins could not be checked");
      }
    }
    runLater(found === AT_ONCE ? 0 : pollMs * (0.5 + random()));
  }

  runLater(pollMs);
  return {
    async close() {
      isClosed = true;
      timer?.cancel();
      // A refresh token that has just come is written.
      await running;
    },
  };
}

async function recheck(deps: RechecksDeps, signIn: SignIn, failures: Failures): Promise<void> {
  const { records, settings, counters, clock } = deps;
  let current = signIn;
  const keep = async (access: Access): Promise<void> => {
    current = await records.write(current, { access, dueInMs: settings.recheckMs });
  };
  const verdict = await judge(deps, signIn, failures, keep);
  counters.count("worker.sign_ins.checked", verdict.outcome);
  const access = records.accessOf(current);
  switch (verdict.outcome) {
    case "confirmed":
      if (access === undefined) return;
      await records.write(current, { access, isConfirmed: true, dueInMs: settings.recheckMs });
      return;
    case "ended":
      return end(deps, signIn, verdict.cause, verdict.message);
    case "failed": {
      failures.add(signIn.provider, verdict.error);
      const lastMs = signIn.checkedMs + settings.recheckMs + settings.graceMs;
      if (clock.wallMs() >= lastMs) {
        const label = labelOf(deps, signIn);
        const message = `${label} could not confirm for too long that you may use this server. Sign in again.`;
        return end(deps, signIn, "unconfirmed", message);
      }
      // Another worker has it when its lease is over.
      if (access === undefined || verdict.isElsewhere === true) return;
      const dueInMs = Math.min(RETRY_MS, settings.recheckMs);
      const isUncertain = verdict.isUncertain === true || current.isUncertain === true;
      await records.write(current, { access, dueInMs, isUncertain });
    }
  }
}

async function judge(
  deps: RechecksDeps,
  signIn: SignIn,
  failures: Failures,
  keep: (access: Access) => Promise<void>,
): Promise<Verdict> {
  const client = deps.providers.find(({ provider }) => provider.id === signIn.provider);
  const access = deps.records.accessOf(signIn);
  // While settings are changed, other workers may know more.
  if (client === undefined) return elsewhere("it is not among CT_OIDC_PROVIDERS");
  if (access === undefined) return elsewhere("CT_SECRET has changed");
  if (signIn.role !== undefined && deps.operatorRoles === undefined) {
    return elsewhere("CT_DASHBOARD_GROUPS is not set");
  }
  const isDown = failures.isDown(signIn.provider);
  if (isDown !== undefined) return { outcome: "failed", error: isDown };
  let checked: Checked;
  try {
    checked = await client.check(access, signIn.subject, keep);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (error.problem === "denied") return judgeDenial(deps, signIn, access, error);
    const isUncertain = "refreshToken" in access && error.problem === "unreachable";
    return { outcome: "failed", error, isUncertain };
  }
  return judgeChecked(deps, client.provider, signIn, checked);
}

function elsewhere(reason: string): Verdict {
  return { outcome: "failed", error: new ProviderError("invalid", reason), isElsewhere: true };
}

/** Refused; but it may be what was asked with that is of no use any more, and not the person. */
async function judgeDenial(
  { records, store, providers }: RechecksDeps,
  signIn: SignIn,
  access: Access,
  error: ProviderError,
): Promise<Verdict> {
  if (signIn.isUncertain === true) return { outcome: "failed", error };
  // Another worker has checked it meanwhile, after an outage of the store.
  const newest = await records.read(signIn.id);
  if (newest !== undefined && newest.revision > signIn.revision)
    return { outcome: "failed", error, isElsewhere: true };
  // GitHub revokes the oldest access token of a person who has more than ten. The newest one tells.
  if ("accessToken" in access) {
    const others = await findSignIns(store, [signIn.user.id]);
    const isNewer = (one: SignIn): boolean =>
      one.provider === signIn.provider && one.begunMs > signIn.begunMs;
    if (others.some(isNewer)) return { outcome: "confirmed" };
  }
  const label = labelOf({ providers }, signIn);
  const message = `${label} has ended your sign-in. Sign in again, or contact your administrator.`;
  return { outcome: "ended", cause: "refused", message };
}

function judgeChecked(
  deps: RechecksDeps,
  provider: IdentityProvider,
  signIn: SignIn,
  { issuer, claims, isWhole }: Checked,
): Verdict {
  if (claims instanceof ProviderError) return { outcome: "failed", error: claims };
  if (claims === undefined) {
    const needsGroups = provider.groups.length > 0 || signIn.role !== undefined;
    if (!needsGroups) return { outcome: "confirmed" };
    const reason = "the provider sends no groups without the person";
    return { outcome: "failed", error: new ProviderError("invalid", reason) };
  }
  const identity = judgeClaims(deps, provider, signIn, issuer, claims);
  if (identity.outcome === "refused") {
    // Claims that were in the ID token of the sign-in.
    if (!isWhole && MISSING.has(identity.reason)) {
      const reason = `the provider sends less without the person: ${identity.reason}`;
      return { outcome: "failed", error: new ProviderError("invalid", reason) };
    }
    return { outcome: "ended", cause: "not allowed", message: identity.message };
  }
  if (identity.user.id === signIn.user.id) return { outcome: "confirmed" };
  const error = new ProviderError("invalid", "the profile is of somebody else");
  return { outcome: "failed", error };
}

/** Reasons of `readIdentity`. */
const MISSING: ReadonlySet<string> = new Set(["subject", "name", "no groups"]);

/** An operator has the same role as before, or signs in again. */
function judgeClaims(
  { operatorRoles = {} }: RechecksDeps,
  provider: IdentityProvider,
  { role }: SignIn,
  issuer: string,
  claims: Claims,
): Identity {
  if (role === undefined) return readIdentity(provider, issuer, claims);
  const groups = groupsOf(provider, claims);
  if (groups === undefined) return noGroups(provider);
  if (roleOf(operatorRoles, groups) === role) return readPerson(provider, issuer, claims);
  const message = `Your groups at ${provider.label} have changed. Sign in again.`;
  return { outcome: "refused", reason: "role", message };
}

async function end(
  { store, counters, log }: RechecksDeps,
  signIn: SignIn,
  cause: EndCause,
  message: string,
): Promise<void> {
  await endSignIn(store, signIn, cause, message);
  counters.count("worker.sign_ins.ended", cause);
  log.info({ provider: signIn.provider, user: signIn.user.name, cause }, "a sign-in has ended");
}

function labelOf({ providers }: Pick<RechecksDeps, "providers">, signIn: SignIn): string {
  const client = providers.find(({ provider }) => provider.id === signIn.provider);
  return client?.provider.label ?? "The identity provider";
}

// --- providers that fail ---

interface Failures {
  add(provider: string, error: ProviderError): void;
  /** Why the provider is not asked now: each question would wait for its time-out. */
  isDown(provider: string): ProviderError | undefined;
}

interface Failure {
  readonly error: ProviderError;
  readonly atMs: number;
  loggedMs: number;
  unlogged: number;
}

function createFailures({ clock, log, settings }: RechecksDeps): Failures {
  const byProvider = new Map<string, Failure>();

  function logIt(
    provider: string,
    { problem, message: reason }: ProviderError,
    more: number,
  ): void {
    const { graceMs } = settings;
    log.warn(
      { provider, problem, reason, graceMs, furtherFailures: more },
      "an identity provider could not confirm a sign-in, which lasts for CT_OIDC_GRACE_MS more",
    );
  }

  return {
    add(provider, error) {
      const nowMs = clock.nowMs();
      const before = byProvider.get(provider);
      // Of those that were not asked.
      const atMs = before?.error === error ? before.atMs : nowMs;
      const isDue = before === undefined || nowMs - before.loggedMs >= LOG_MS;
      if (isDue) logIt(provider, error, before?.unlogged ?? 0);
      byProvider.set(provider, {
        ...{ error, atMs },
        loggedMs: isDue ? nowMs : (before?.loggedMs ?? nowMs),
        unlogged: isDue ? 0 : (before?.unlogged ?? 0) + 1,
      });
    },
    isDown(provider) {
      const last = byProvider.get(provider);
      const isRecent = last !== undefined && clock.nowMs() - last.atMs < DOWN_MS;
      return isRecent && last.error.problem === "unreachable" ? last.error : undefined;
    },
  };
}
