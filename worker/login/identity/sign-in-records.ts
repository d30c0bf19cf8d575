/**
 * The sign-ins at identity providers, as workers write and read them: with what a provider is asked again, encrypted. A worker
 * remembers the sign-ins of its people, and those that it wrote last, to restore them in a store that was flushed.
 */
import { z } from "zod";
import { BoundedMap } from "../../../shared/base/bounded.ts";
import type { Clock } from "../../../shared/base/clock.ts";
import { concurrently } from "../../../shared/base/concurrently.ts";
import { randomAlphanumerics } from "../../../shared/base/ids.ts";
import type { Told } from "../../../shared/policy/person.ts";
import type { PurposeKeys } from "../../../shared/settings/keyring.ts";
import type { OperatorRole } from "../../../shared/settings/operator-roles.ts";
import { seal, unseal } from "../../../shared/settings/sealing.ts";
import { fromStored, type SignIn, toStored } from "../../../shared/sign-ins/sign-in.ts";
import {
  type Deferring,
  type Store,
  StoreAwayError,
  type UserRecord,
} from "../../../shared/store/store.ts";
import { CLOCK_SKEW_MS, OPERATOR_TOKEN_MS, SIGN_IN_MS } from "../tokens.ts";
import type { Access, SignedIn } from "./provider-client.ts";

interface Found {
  /** Undefined: as before. */
  readonly access?: Access | undefined;
  /** What the provider has told of the person now; undefined: nothing, so it is as before. */
  readonly told?: Told | undefined;
  readonly dueInMs: number;
  /** Whether the provider has confirmed it, or could not. */
  readonly isConfirmed?: boolean;
  readonly isFailed?: boolean;
  /** Whether it may have taken the refresh token, without a response. */
  readonly isUncertain?: boolean | undefined;
}

/** What a provider has answered. */
export type Begun = SignedIn & {
  readonly subject: string;
  /** Undefined: it has not told. */
  readonly groups?: ReadonlySet<string> | undefined;
};

export type SignInRecords = ReturnType<typeof createSignInRecords>;

/** How long a worker may take to check one: far more than the time limits of its requests. */
const LEASE_MS = 120_000;
/** About 3 KB each, with many groups up to 35. */
const MAX_KNOWN = 5000;
const ID_CHARS = 24;
/** Of somebody's groups in a record, which has 64 KiB at most. The groups of a person with more are not known. */
const MAX_GROUP_BYTES = 32 * 1024;
/** Concurrent writes to the store. */
const AT_ONCE = 16;

const accessSchema = z.union([
  z.object({ refreshToken: z.string() }),
  z.object({ accessToken: z.string() }),
]);

function toldFields({ user }: SignIn, { email, groups }: Told): Pick<SignIn, "user" | "groups"> {
  const { id, name } = user;
  return { user: { id, name, ...(email !== undefined && { email }) }, ...groupsField(groups) };
}

function groupsField(groups: ReadonlySet<string> | undefined): Pick<SignIn, "groups"> {
  const list = groups && stored(groups);
  return list === undefined ? {} : { groups: list };
}

/** For a record; undefined: too many. */
function stored(groups: ReadonlySet<string>): readonly string[] | undefined {
  const list = [...groups];
  return Buffer.byteLength(JSON.stringify(list)) <= MAX_GROUP_BYTES ? list : undefined;
}

export function createSignInRecords(deps: {
  readonly store: Pick<Store, "putSignIn" | "claimDueSignIns" | "findSignIns" | "endSignIn"> &
    Deferring<"claimDueSignIns">;
  readonly keys: PurposeKeys;
  readonly clock: Pick<Clock, "wallMs">;
  /** 0: never. */
  readonly recheckMs: number;
  readonly random?: () => number;
}) {
  const { store, keys, clock, recheckMs, random = Math.random } = deps;
  /** By id, the longest unused one first. */
  const known = new BoundedMap<string, SignIn>(MAX_KNOWN);
  /** Those of them that could not be written. */
  const unwritten = new Set<string>();

  function remember(signIn: SignIn): void {
    const before = known.get(signIn.id);
    known.set(
      signIn.id,
      before !== undefined && before.revision > signIn.revision ? before : signIn,
    );
  }

  function put(signIn: SignIn, dueInMs: number | undefined): Promise<"done" | "stale"> {
    const ttlMs = signIn.untilMs - clock.wallMs();
    return store.putSignIn({
      ...toStored(signIn),
      ttlMs: Math.max(1, ttlMs),
      ...(dueInMs !== undefined && { dueInMs }),
    });
  }

  /** After a flush all would be due at once. */
  function spread(signIn: SignIn): number | undefined {
    const isChecked = signIn.sealedAccess !== undefined && recheckMs > 0;
    return isChecked ? recheckMs * random() : undefined;
  }

  async function restore(signIn: SignIn): Promise<boolean> {
    if ((await put(signIn, spread(signIn))) === "done") return true;
    // The store has a later one, or it has ended.
    return (await store.findSignIns({ id: signIn.id })).length > 0;
  }

  /** Writes what could not be written. Call it before others are claimed: their leases may end. Rejects with `StoreAwayError`. */
  async function writeLate(): Promise<void> {
    for (const id of unwritten) {
      const signIn = known.get(id);
      if (signIn !== undefined && !(await restore(signIn))) known.delete(id);
      unwritten.delete(id);
    }
  }

  return {
    /**
     * Records that `user` has signed in at `provider`, and returns the sign-in's id. `role`: to the dashboard, as an operator. Rejects
     * with `StoreAwayError`.
     */
    async begin(
      provider: string,
      { id: userId, name, email }: UserRecord,
      signedIn: Begun,
      role?: OperatorRole,
    ): Promise<string> {
      const { issuer, subject, access, providerSession, groups } = signedIn;
      const id = randomAlphanumerics(ID_CHARS);
      const nowMs = clock.wallMs();
      const signIn: SignIn = {
        ...{ id, provider, issuer, subject, revision: 1 },
        user: { id: userId, name, ...(email !== undefined && { email }) },
        begunMs: nowMs,
        untilMs: nowMs + (role === undefined ? SIGN_IN_MS : OPERATOR_TOKEN_MS + CLOCK_SKEW_MS),
        ...groupsField(groups),
        ...(role !== undefined && { role }),
        ...(providerSession !== undefined && { providerSession }),
        ...(access !== undefined && { sealedAccess: seal(keys, id, JSON.stringify(access)) }),
      };
      const isChecked = access !== undefined && recheckMs > 0;
      await put(signIn, isChecked ? recheckMs : undefined);
      remember(signIn);
      return id;
    },
    /** Removes one of which nothing is left that it allows. Rejects with `StoreAwayError`. */
    async forget(id: string): Promise<void> {
      known.delete(id);
      await store.endSignIn(id, 0);
    },
    writeLate,
    /**
     * Those that are to be checked now, each given to one caller only. `isHurried`: more are known to be due; otherwise the store
     * may defer it. Rejects with `StoreAwayError`.
     */
    async claimDue(limit: number, isHurried: boolean): Promise<readonly SignIn[]> {
      const due = await (isHurried ? store : store.deferred).claimDueSignIns(limit, LEASE_MS);
      return due.flatMap((stored) => fromStored(stored) ?? []);
    },
    /** With what its provider is asked about it; undefined: it cannot be, or an unknown secret has encrypted that. */
    accessOf({ id, sealedAccess }: SignIn): Access | undefined {
      const text = sealedAccess === undefined ? undefined : unseal(keys, id, sealedAccess);
      return text === undefined ? undefined : accessSchema.safeParse(JSON.parse(text)).data;
    },
    /**
     * Writes what a check has found, and returns the sign-in as it is now; the next check is due in `dueInMs`. Rejects with
     * `StoreAwayError`; then `writeLate` writes it.
     */
    async write(signIn: SignIn, found: Found): Promise<SignIn> {
      const { access, told, dueInMs, isUncertain } = found;
      const { isConfirmed = false, isFailed = false } = found;
      const { isUncertain: _, failingMs, groups, ...rest } = signIn;
      const before = told === undefined && groups !== undefined ? { ...rest, groups } : rest;
      const nowMs = clock.wallMs();
      const sinceMs = isFailed ? (failingMs ?? nowMs) : failingMs;
      const written: SignIn = {
        ...before,
        revision: signIn.revision + 1,
        ...(access !== undefined && {
          sealedAccess: seal(keys, signIn.id, JSON.stringify(access)),
        }),
        ...(told !== undefined && toldFields(signIn, told)),
        ...(!isConfirmed && sinceMs !== undefined && { failingMs: sinceMs }),
        ...(isUncertain === true && { isUncertain }),
      };
      // A rotated refresh token must not be lost with a store that is away.
      remember(written);
      unwritten.add(signIn.id);
      try {
        if ((await put(written, dueInMs)) === "stale") known.delete(signIn.id);
        unwritten.delete(signIn.id);
      } catch (error) {
        // What the store does not take, it would never take.
        if (!(error instanceof StoreAwayError)) unwritten.delete(signIn.id);
        throw error;
      }
      return written;
    },
    /** The newest revision. Rejects with `StoreAwayError`. */
    async read(id: string): Promise<SignIn | undefined> {
      const [stored] = await store.findSignIns({ id });
      return stored && fromStored(stored);
    },
    /** It has ended: it is not restored any more. */
    drop(id: string): void {
      known.delete(id);
      unwritten.delete(id);
    },
    /** Whether the store has the sign-in; restores it if only this worker has it. Rejects with `StoreAwayError`. */
    async exists(id: string): Promise<boolean> {
      const [stored] = await store.findSignIns({ id });
      const signIn = stored && fromStored(stored);
      if (signIn !== undefined) remember(signIn);
      const last = known.get(id);
      const isBehind = last !== undefined && last.revision > (stored?.revision ?? 0);
      if (!isBehind) return stored !== undefined;
      const isThere = await restore(last);
      if (!isThere) known.delete(id);
      return isThere;
    },
    // Most are there: the store was away, not flushed.
    /** Those that a flushed store has lost are written again. Rejects with `StoreAwayError`. */
    reassert: (): Promise<void> =>
      concurrently([...known.values()], AT_ONCE, (one) => put(one, spread(one))),
  };
}
