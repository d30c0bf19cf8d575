/** Sign-ins at identity providers, in the embedded store. */
import type { JournalledSignIn, StoredSignIn } from "../../schemas.ts";
import { MAX_SIGN_INS_OF_KEY } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects } from "./effects.ts";
import type { Operations } from "./operations.ts";
import { createTable } from "./table.ts";
import type { Values } from "./values.ts";

/** Beyond it the longest unchanged one is dropped. Each takes about 3 KB. */
const MAX_SIGN_INS = 20_000;

export function createSignIns(effects: Effects, revoked: Pick<Values, "isRevoked" | "revoke">) {
  const table = createTable<JournalledSignIn>({
    effects,
    keyOf: (id) => recordKey("sign-in", id),
    expiryOf: ({ expiresMs }) => expiresMs,
    keysOf: ({ keys }) => keys,
    isRenewedBySet: true,
  });

  const operations = {
    putSignIn(now, { id, dueInMs, ttlMs, ...signIn }) {
      if (revoked.isRevoked(now, id)) return "stale";
      if ((table.find(now, id)?.revision ?? 0) >= signIn.revision) return "stale";
      table.set(id, {
        ...signIn,
        expiresMs: now.wallMs + ttlMs,
        ...(dueInMs !== undefined && { dueMs: now.wallMs + dueInMs }),
      });
      table.dropBeyond((size) => size > MAX_SIGN_INS);
      return "done";
    },
    claimDueSignIns(now, limit, leaseMs) {
      const due: StoredSignIn[] = [];
      for (const [id, signIn] of table.values) {
        if (due.length >= limit) break;
        if ((signIn.dueMs ?? Number.POSITIVE_INFINITY) > now.wallMs) continue;
        if (table.find(now, id) !== undefined) due.push(toStored(id, signIn));
      }
      for (const { id } of due) {
        const signIn = table.find(now, id);
        if (signIn !== undefined) table.set(id, { ...signIn, dueMs: now.wallMs + leaseMs });
      }
      return due;
    },
    findSignIns(now, by) {
      const found: StoredSignIn[] = [];
      for (const id of "id" in by ? [by.id] : table.idsOf(by.key)) {
        if (found.length >= MAX_SIGN_INS_OF_KEY) break;
        const signIn = table.find(now, id);
        if (signIn !== undefined) found.push(toStored(id, signIn));
      }
      return found;
    },
    endSignIn(now, id, untilMs) {
      if (untilMs > now.wallMs) revoked.revoke(id, untilMs);
      table.drop(id);
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    sweep: table.sweep,
    restore: ({ ids: [id], value }: Restored<"sign-in">) => table.restore(id, value),
    entries: table.entries,
  };
}

function toStored(id: string, { revision, keys, data }: JournalledSignIn): StoredSignIn {
  return { id, revision, keys, data };
}
