/**
 * Asks identity providers again whether the people who signed in there still may. Every worker takes some of the sign-ins that are
 * due; each is checked by one worker at a time, because a refresh token may be good only once.
 */
import type { Clock } from "../../../shared/base/clock.ts";
import { startRestingTask } from "../../../shared/base/periodic-task.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { Told } from "../../../shared/policy/person.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import { type RoleGroups, roleOf } from "../../../shared/settings/operator-roles.ts";
import {
  type EndCause,
  endSignIn,
  findSignIns,
  type SignIn,
  userKey,
} from "../../../shared/sign-ins/sign-in.ts";
import type { Store } from "../../../shared/store/store.ts";
import { reportUnlessAway } from "../../../shared/store/unless-away.ts";
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

export type Rechecks = ReturnType<typeof startRechecks>;

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
  readonly store: Pick<Store, "endSignIn" | "appendToStream" | "findSignIns">;
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
  /** `told` undefined: the provider has sent nothing about the person. */
  | { readonly outcome: "confirmed"; readonly told?: Told | undefined }
  /** `also`: older sign-ins of the same person, which nothing confirms any more. */
  | {
      readonly outcome: "ended";
      readonly cause: EndCause;
      readonly message: string;
      readonly also?: readonly SignIn[];
    }
  | { readonly outcome: "failed"; readonly error: ProviderError }
  /** Nothing was asked, or nothing learned. `dueInMs` undefined: another worker has written it meanwhile. */
  | { readonly outcome: "postponed"; readonly dueInMs: number | undefined };

export function startRechecks(deps: RechecksDeps) {
  const { clock, log, settings, records, random = Math.random } = deps;
  const pollMs = Math.min(MAX_POLL_MS, settings.recheckMs / 4);
  const failures = createFailures(deps);
  let isClosed = false;
  let notBeforeMs = 0;
  let isHurried = false;
  let restMs = pollMs;

  async function run(): Promise<void> {
    let found = 0;
    try {
      await records.writeLate();
      if (!isClosed && clock.nowMs() >= notBeforeMs) {
        const due = await records.claimDue(AT_ONCE, isHurried);
        found = due.length;
        // One claimed while this worker stops is given back: others would wait for the end of its lease.
        const checks = due.map((signIn) =>
          isClosed ? giveBack(deps, signIn) : recheck(deps, signIn, failures),
        );
        const failed = (await Promise.allSettled(checks)).find(
          ({ status }) => status === "rejected",
        );
        if (failed?.status === "rejected") throw failed.reason;
      }
    } catch (error) {
      // Before others are claimed, each worker writes what it could not.
      notBeforeMs = clock.nowMs() + 2 * pollMs;
      throw error;
    } finally {
      isHurried = found === AT_ONCE;
      restMs = isHurried ? 0 : pollMs * (0.5 + random());
    }
  }

  const isWanted = settings.recheckMs > 0 && deps.providers.length > 0;
  if (!isWanted) return { close() {}, settled: () => Promise.resolve() };
  const checking = startRestingTask({
    clock,
    restMs: () => restMs,
    work: run,
    onError: reportUnlessAway(log, "sign-ins could not be checked"),
  });
  return {
    /** Begins no further check. */
    close(): void {
      isClosed = true;
      checking.close();
    },
    /** Resolves when the checks under way are written. */
    settled: checking.settled,
  };
}

async function recheck(deps: RechecksDeps, signIn: SignIn, failures: Failures): Promise<void> {
  const { records, settings, counters } = deps;
  const { recheckMs } = settings;
  let current = signIn;
  const keep = async (access: Access): Promise<void> => {
    current = await records.write(current, { access, dueInMs: recheckMs });
  };
  const verdict = await judge(deps, signIn, failures, keep);
  counters.count("worker.sign_ins.checked", verdict.outcome);
  switch (verdict.outcome) {
    case "confirmed":
      failures.clear(signIn.provider);
      await records.write(current, {
        isConfirmed: true,
        told: verdict.told,
        dueInMs: recheckMs,
      });
      return;
    case "ended":
      for (const one of [signIn, ...(verdict.also ?? [])]) {
        await end(deps, one, verdict.cause, verdict.message);
      }
      return;
    case "failed":
      return failOrEnd(deps, current, verdict.error, failures);
    case "postponed": {
      const { isUncertain } = current;
      const { dueInMs } = verdict;
      if (dueInMs !== undefined) await records.write(current, { dueInMs, isUncertain });
    }
  }
}

async function giveBack({ records }: RechecksDeps, signIn: SignIn): Promise<void> {
  await records.write(signIn, { dueInMs: 0, isUncertain: signIn.isUncertain });
}

async function failOrEnd(
  deps: RechecksDeps,
  signIn: SignIn,
  error: ProviderError,
  failures: Failures,
): Promise<void> {
  const { records, settings, clock } = deps;
  failures.add(signIn.provider, error);
  const isOver =
    signIn.failingMs !== undefined && clock.wallMs() - signIn.failingMs >= settings.graceMs;
  if (isOver) {
    const label = labelOf(deps, signIn);
    const message = `${label} could not confirm for too long that you may use this server. Sign in again.`;
    return end(deps, signIn, "unconfirmed", message);
  }
  const isUncertain = error.isLost || signIn.isUncertain === true;
  const dueInMs = Math.min(RETRY_MS, settings.recheckMs);
  await records.write(signIn, { isFailed: true, dueInMs, isUncertain });
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
  if (failures.isDown(signIn.provider)) {
    return { outcome: "postponed", dueInMs: Math.min(DOWN_MS, deps.settings.recheckMs) };
  }
  let checked: Checked;
  try {
    checked = await client.check(access, signIn.subject, keep);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (error.problem === "denied") return judgeDenial(deps, signIn, access, error);
    return { outcome: "failed", error };
  }
  return judgeChecked(deps, client.provider, signIn, checked);
}

function elsewhere(reason: string): Verdict {
  return { outcome: "failed", error: new ProviderError("invalid", reason) };
}

/** Refused; but it may be what was asked with that is of no use any more, and not the person. */
async function judgeDenial(
  { records, store, providers, settings }: RechecksDeps,
  signIn: SignIn,
  access: Access,
  error: ProviderError,
): Promise<Verdict> {
  if (signIn.isUncertain === true) return { outcome: "failed", error };
  // Another worker has checked it meanwhile, after an outage of the store.
  const newest = await records.read(signIn.id);
  if (newest !== undefined && newest.revision > signIn.revision) {
    return { outcome: "postponed", dueInMs: undefined };
  }
  const label = labelOf({ providers }, signIn);
  const message = `${label} has ended your sign-in. Sign in again, or contact your administrator.`;
  const ended = { outcome: "ended", cause: "refused", message } as const;
  if ("refreshToken" in access) return ended;
  // GitHub revokes the oldest access token of a person who has more than ten: the newest one tells.
  const others = (await findSignIns(store, [userKey(signIn.user.id)])).filter(
    (one) => one.provider === signIn.provider && one.sealedAccess !== undefined,
  );
  const isNewer = (one: SignIn): boolean => one.begunMs > signIn.begunMs;
  if (others.some(isNewer)) return { outcome: "postponed", dueInMs: settings.recheckMs };
  return { ...ended, also: others.filter(({ id }) => id !== signIn.id) };
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
  if (identity.user.id === signIn.user.id) {
    const groups = groupsOf(provider, claims);
    const { email } = identity.user;
    if (isWhole) return { outcome: "confirmed", told: { email, groups } };
    // Claims that were in the ID token of the sign-in may be missing.
    const before = signIn.groups && new Set(signIn.groups);
    const told = { email: email ?? signIn.user.email, groups: groups ?? before };
    return { outcome: "confirmed", told };
  }
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
  /** It has responded. */
  clear(provider: string): void;
  /** Whether it is not asked now, because it did not respond: each question would wait for its time-out. */
  isDown(provider: string): boolean;
}

function createFailures({ clock, log, settings }: RechecksDeps): Failures {
  const downMs = Math.min(DOWN_MS, settings.recheckMs);
  const silentMs = new Map<string, number>();
  const logged = new Map<string, { atMs: number; unlogged: number }>();

  return {
    add(provider, { problem, message: reason, isSilent }) {
      const nowMs = clock.nowMs();
      if (isSilent) silentMs.set(provider, nowMs);
      const last = logged.get(provider);
      if (last !== undefined && nowMs - last.atMs < LOG_MS) {
        last.unlogged++;
        return;
      }
      logged.set(provider, { atMs: nowMs, unlogged: 0 });
      const { graceMs } = settings;
      log.warn(
        { provider, problem, reason, graceMs, furtherFailures: last?.unlogged ?? 0 },
        "an identity provider could not confirm a sign-in, which lasts for CT_OIDC_GRACE_MS more",
      );
    },
    clear: (provider) => void silentMs.delete(provider),
    isDown(provider) {
      const lastMs = silentMs.get(provider);
      return lastMs !== undefined && clock.nowMs() - lastMs < downMs;
    },
  };
}
