/**
 * The keys of an edge whose secret may be changed while it runs. A process accepts what was made with its secret (CT_SECRET) or
 * with the one before (CT_SECRET_PREVIOUS), and makes new things with the new one as soon as every member knows it: until then
 * an edge in which some processes have only the old secret works as one.
 */
import type { Log } from "../logs/log.ts";
import type { MemberRecord } from "../store/member.ts";
import { SettingError, type Settings } from "./read-settings.ts";
import { deriveKeys, type EdgeKeys } from "./secret.ts";

/** The keys of one purpose. */
export interface PurposeKeys {
  /** With which new things are made. */
  readonly signing: Buffer;
  /** With which things may have been made, the newest first. */
  readonly accepted: readonly Buffer[];
}

/** How a member shows which secrets it knows, in its record. */
export interface KnownSecrets {
  /** Of the secret that it uses. */
  readonly secretFingerprint: string;
  /** Of the secret that it will use when all members know it. */
  readonly nextSecretFingerprint?: string | undefined;
}

export type Keyring = ReturnType<typeof createKeyring>;

/** Throws `SettingError`. */
export function checkSecrets({
  secret,
  secretPrevious,
}: Pick<Settings, "secret" | "secretPrevious">): void {
  if (secretPrevious === undefined) return;
  if (secret === undefined) {
    throw new SettingError(
      "CT_SECRET_PREVIOUS is set without CT_SECRET; set CT_SECRET to the new secret",
    );
  }
  if (secret === secretPrevious) {
    throw new SettingError(
      "CT_SECRET and CT_SECRET_PREVIOUS are the same; set CT_SECRET to a new secret, and CT_SECRET_PREVIOUS to the one before",
    );
  }
}

/** `onSwitch`: another secret is used from now on; whether it is the new one. */
export function createKeyring(
  secrets: { readonly secret: string; readonly previous?: string | undefined },
  onSwitch: (isNew: boolean) => void = () => {},
) {
  const current = deriveKeys(secrets.secret);
  const previous = secrets.previous === undefined ? undefined : deriveKeys(secrets.previous);
  const all: readonly EdgeKeys[] = previous === undefined ? [current] : [current, previous];
  let used = previous ?? current;

  function keysFor(purpose: Exclude<keyof EdgeKeys, "fingerprint">): PurposeKeys {
    const accepted = all.map((keys) => keys[purpose]);
    return {
      get signing() {
        return used[purpose];
      },
      accepted,
    };
  }

  function choose(members: readonly KnownSecrets[]): EdgeKeys {
    if (previous === undefined) return current;
    // None have been read yet.
    if (members.length === 0) return used;
    return members.every((member) => isKnownTo(member, current)) ? current : previous;
  }

  return {
    token: keysFor("token"),
    edge: keysFor("edge"),
    relay: keysFor("relay"),
    signIn: keysFor("signIn"),
    audit: keysFor("audit"),
    acme: keysFor("acme"),
    /** People that were counted with the previous key are not counted again while it is known. */
    people: (previous ?? current).people,
    /** For this process's own record. */
    get known(): KnownSecrets {
      const secretFingerprint = used.fingerprint;
      return used === current
        ? { secretFingerprint }
        : { secretFingerprint, nextSecretFingerprint: current.fingerprint };
    },
    /** Fingerprints of the secrets of members that can be worked with. */
    fingerprints: all.map(({ fingerprint }) => fingerprint),
    /** The edge key that the member accepts. */
    edgeKeyFor: ({ secretFingerprint }: Pick<MemberRecord, "secretFingerprint">): Buffer =>
      (all.find(({ fingerprint }) => fingerprint === secretFingerprint) ?? used).edge,
    /** The ring's key now that these are the members, this process perhaps among them. Decides which secret is used. */
    ringKeyFor: (members: readonly KnownSecrets[]): Buffer => {
      const next = choose(members);
      if (next !== used) onSwitch(next === current);
      used = next;
      return used.ring;
    },
  };
}

export function logSwitch(log: Pick<Log, "info">, isNew: boolean): void {
  const text = isNew
    ? "all processes know CT_SECRET; it is used from now on"
    : "a process knows only CT_SECRET_PREVIOUS, which is used again";
  log.info(text);
}

/** For what has one key only. */
export function onlyKey(key: Buffer): PurposeKeys {
  return { signing: key, accepted: [key] };
}

function isKnownTo(member: KnownSecrets, { fingerprint }: EdgeKeys): boolean {
  return member.secretFingerprint === fingerprint || member.nextSecretFingerprint === fingerprint;
}
