/**
 * Asks identity providers again whether the people who signed in there still may. Every worker takes some of the sign-ins that are
 * due; each is checked by one worker at a time, because a refresh token may be good only once.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import { type RoleGroups, roleOf } from "../../../shared/settings/operator-roles.ts";
import { type EndCause, endSignIn, type SignIn } from "../../../shared/sign-ins/sign-in.ts";
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
  close(): void;
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
/** Failures of one provider are logged once in this time, with their number. */
const LOG_MS = 60_000;

interface RechecksDeps {
  readonly providers: readonly ProviderClient[];
  readonly records: Pick<SignInRecords, "claimDue" | "accessOf" | "write">;
  readonly store: Pick<Store, "endSignIn" | "appendToStream">;
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
  | { readonly outcome: "confirmed"; readonly access: Access }
  | { readonly outcome: "ended"; readonly cause: EndCause; readonly message: string }
  /** `access`: for the next time; undefined: this worker cannot ask, and another one may. */
  | {
      readonly outcome: "failed";
      readonly error: ProviderError;
      readonly access: Access | undefined;
    };

export function startRechecks(deps: RechecksDeps): Rechecks {
  const { clock, log, settings, random = Math.random } = deps;
  const pollMs = Math.min(MAX_POLL_MS, settings.recheckMs / 4);
  const failures = createFailureLog(deps);
  let isClosed = settings.recheckMs <= 0 || deps.providers.length === 0;
  let timer: Timer | undefined;

  function runLater(delayMs: number): void {
    if (!isClosed) timer = clock.after(delayMs, () => void run());
  }

  async function run(): Promise<void> {
    let found = 0;
    try {
      const due = await deps.records.claimDue(AT_ONCE);
      found = due.length;
      await Promise.all(due.map((signIn) => recheck(deps, signIn, failures)));
    } catch (error) {
      // Those that were claimed are due again when their lease is over.
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "sign-ins could not be checked");
      }
    }
    runLater(found === AT_ONCE ? 0 : pollMs * (0.5 + random()));
  }

  runLater(pollMs);
  return {
    close() {
      isClosed = true;
      timer?.cancel();
    },
  };
}

async function recheck(deps: RechecksDeps, signIn: SignIn, failures: FailureLog): Promise<void> {
  const { records, settings, counters, clock } = deps;
  const verdict = await judge(deps, signIn);
  switch (verdict.outcome) {
    case "confirmed": {
      counters.count("worker.sign_ins.checked", "confirmed");
      const { access } = verdict;
      const dueInMs = settings.recheckMs;
      return records.write(signIn, { access, isConfirmed: true, dueInMs });
    }
    case "ended":
      return end(deps, signIn, verdict.cause, verdict.message);
    case "failed": {
      counters.count("worker.sign_ins.checked", "failed");
      failures.add(signIn.provider, verdict.error);
      const lastMs = signIn.checkedMs + settings.recheckMs + settings.graceMs;
      if (clock.wallMs() >= lastMs) {
        const label = labelOf(deps, signIn);
        const message = `${label} could not confirm for too long that you may use this server. Sign in again.`;
        return end(deps, signIn, "unconfirmed", message);
      }
      const { access } = verdict;
      const dueInMs = Math.min(RETRY_MS, settings.recheckMs);
      // Else it is due again when its lease is over.
      if (access !== undefined)
        await records.write(signIn, { access, isConfirmed: false, dueInMs });
      return;
    }
  }
}

async function judge(deps: RechecksDeps, signIn: SignIn): Promise<Verdict> {
  const client = deps.providers.find(({ provider }) => provider.id === signIn.provider);
  const access = deps.records.accessOf(signIn);
  if (client === undefined || access === undefined) {
    // While settings are changed, other workers may know its provider, or its secret.
    const reason =
      client === undefined ? "it is not among CT_OIDC_PROVIDERS" : "CT_SECRET has changed";
    return { outcome: "failed", access: undefined, error: new ProviderError("invalid", reason) };
  }
  const { label } = client.provider;
  let checked: Checked;
  try {
    checked = await client.check(access, signIn.subject);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return error.problem === "denied"
      ? {
          outcome: "ended",
          cause: "refused",
          message: `${label} has ended your sign-in. Sign in again, or contact your administrator.`,
        }
      : { outcome: "failed", error, access };
  }
  if (checked.claims instanceof ProviderError) {
    return { outcome: "failed", error: checked.claims, access: checked.access };
  }
  if (checked.claims !== undefined) {
    const identity = judgeClaims(deps, client.provider, signIn, checked.issuer, checked.claims);
    if (identity.outcome === "refused") {
      return { outcome: "ended", cause: "not allowed", message: identity.message };
    }
    if (identity.user.id !== signIn.user.id) {
      const error = new ProviderError("invalid", "the profile is of somebody else");
      return { outcome: "failed", error, access: checked.access };
    }
  }
  return { outcome: "confirmed", access: checked.access };
}

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

function labelOf({ providers }: RechecksDeps, signIn: SignIn): string {
  const client = providers.find(({ provider }) => provider.id === signIn.provider);
  return client?.provider.label ?? "The identity provider";
}

interface FailureLog {
  add(provider: string, error: ProviderError): void;
}

function createFailureLog({ clock, log, settings }: RechecksDeps): FailureLog {
  const byProvider = new Map<string, { sinceMs: number; number: number }>();
  return {
    add(provider, { problem, message: reason }) {
      const entry = byProvider.get(provider);
      if (entry !== undefined && clock.nowMs() - entry.sinceMs < LOG_MS) {
        entry.number++;
        return;
      }
      byProvider.set(provider, { sinceMs: clock.nowMs(), number: 0 });
      log.warn(
        {
          provider,
          problem,
          reason,
          graceMs: settings.graceMs,
          furtherFailures: entry?.number ?? 0,
        },
        "an identity provider could not confirm a sign-in, which lasts for CT_OIDC_GRACE_MS more",
      );
    },
  };
}
