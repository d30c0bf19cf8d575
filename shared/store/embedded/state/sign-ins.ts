/** Sign-ins at identity providers, in the embedded store. */
import { MAX_SIGN_INS_OF_KEY, type StoredSignIn } from "../../store.ts";
import { type JournalledSignIn, type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";
import type { RevokedTokens } from "./revoked-tokens.ts";
import { createSweeper } from "./sweeper.ts";
import type { StoreTime } from "./time.ts";

/** Beyond it the oldest is dropped. Each takes about 3 KB. */
const MAX_SIGN_INS = 20_000;

export interface SignIns
  extends Pick<
    Operations,
    "putSignIn" | "findSignIn" | "claimDueSignIns" | "signInsOf" | "endSignIn"
  > {
  /** Drops some expired sign-ins; call it periodically. */
  sweep(now: StoreTime): void;
  restore(record: Extract<Restored, { kind: "sign-in" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

export function createSignIns(
  effects: Effects,
  revoked: Pick<RevokedTokens, "revokeToken" | "isTokenRevoked">,
): SignIns {
  /** By id, the longest unchanged one first. */
  const signIns = new Map<string, JournalledSignIn>();
  const idsByKey = new Map<string, Set<string>>();
  const sweeper = createSweeper(signIns);

  function set(id: string, signIn: JournalledSignIn): void {
    remove(id);
    signIns.set(id, signIn);
    for (const key of signIn.keys) {
      const ids = idsByKey.get(key) ?? new Set();
      ids.add(id);
      idsByKey.set(key, ids);
    }
  }

  function remove(id: string): boolean {
    const signIn = signIns.get(id);
    if (signIn === undefined) return false;
    signIns.delete(id);
    for (const key of signIn.keys) {
      const ids = idsByKey.get(key);
      ids?.delete(id);
      if (ids?.size === 0) idsByKey.delete(key);
    }
    return true;
  }

  function write(id: string, signIn: JournalledSignIn): void {
    set(id, signIn);
    effects.write(recordKey.signIn(id), signIn);
  }

  function drop(id: string): void {
    if (remove(id)) effects.write(recordKey.signIn(id), undefined);
  }

  function find(now: StoreTime, id: string): JournalledSignIn | undefined {
    const signIn = signIns.get(id);
    return signIn !== undefined && now.wallMs < signIn.expiresMs ? signIn : undefined;
  }

  return {
    putSignIn(now, { id, dueInMs, ttlMs, ...signIn }) {
      if (revoked.isTokenRevoked(now, id)) return "stale";
      if ((find(now, id)?.revision ?? 0) >= signIn.revision) return "stale";
      write(id, {
        ...signIn,
        expiresMs: now.wallMs + ttlMs,
        ...(dueInMs !== undefined && { dueMs: now.wallMs + dueInMs }),
      });
      const [oldest] = signIns.keys();
      if (signIns.size > MAX_SIGN_INS && oldest !== undefined) drop(oldest);
      return "done";
    },
    claimDueSignIns(now, limit, leaseMs) {
      const due: StoredSignIn[] = [];
      for (const [id, signIn] of signIns) {
        if (due.length >= limit) break;
        if ((signIn.dueMs ?? Number.POSITIVE_INFINITY) > now.wallMs) continue;
        if (find(now, id) === undefined) continue;
        due.push(toStored(id, signIn));
      }
      for (const { id } of due) {
        const signIn = signIns.get(id);
        if (signIn !== undefined) write(id, { ...signIn, dueMs: now.wallMs + leaseMs });
      }
      return due;
    },
    findSignIn(now, id) {
      const signIn = find(now, id);
      return signIn && toStored(id, signIn);
    },
    signInsOf(now, key) {
      const found: StoredSignIn[] = [];
      for (const id of idsByKey.get(key) ?? []) {
        if (found.length >= MAX_SIGN_INS_OF_KEY) break;
        const signIn = find(now, id);
        if (signIn !== undefined) found.push(toStored(id, signIn));
      }
      return found;
    },
    endSignIn(now, id, untilMs) {
      if (untilMs > now.wallMs) revoked.revokeToken(now, id, untilMs);
      drop(id);
    },
    sweep(now) {
      sweeper.sweep(({ expiresMs }, id) => {
        if (now.wallMs >= expiresMs) drop(id);
      });
    },
    restore({ id, signIn }) {
      set(id, signIn);
    },
    *entries() {
      for (const [id, signIn] of signIns) yield [recordKey.signIn(id), signIn];
    },
  };
}

function toStored(id: string, { revision, keys, data }: JournalledSignIn): StoredSignIn {
  return { id, revision, keys, data };
}
