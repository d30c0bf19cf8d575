/**
 * Texts by key, in the embedded store: values that are written once, revoked ids, and reports of members. Reports are kept in
 * memory only: after a restart members report again.
 */
import { REPORT_KINDS, type ReportKind } from "../../schemas.ts";
import { MAX_REPORTS } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations, StoreTime } from "./operations.ts";
import { createTable } from "./table.ts";

/** Beyond it the oldest is dropped: signing in and out all day must not fill the memory. */
const MAX_REVOKED = 200_000;

export type Values = ReturnType<typeof createValues>;

export function createValues(effects: Effects) {
  /** Without a limit: only our own code chooses the names. */
  const agreed = createTable<string>({ effects, keyOf: (name) => recordKey("agreed", name) });
  const revoked = createTable<number>({
    effects,
    keyOf: (id) => recordKey("revoked", id),
    expiryOf: (untilMs) => untilMs,
  });
  const reports = createReports();

  function revoke(id: string, untilMs: number): void {
    // A later end that was set before stays.
    revoked.set(id, Math.max(untilMs, revoked.values.get(id) ?? 0));
    revoked.dropBeyond((size) => size > MAX_REVOKED);
  }

  function isRevoked(now: StoreTime, id: string): boolean {
    return revoked.find(now, id) !== undefined;
  }

  const operations = {
    put(now, value) {
      switch (value.kind) {
        case "agreed":
          if (!agreed.values.has(value.key)) agreed.set(value.key, value.text);
          return agreed.values.get(value.key) ?? "";
        case "revoked":
          revoke(value.key, value.untilMs);
          return "";
        case "view":
        case "usage":
          reports.put(now, value.kind, value.key, value);
          return "";
      }
    },
    get(now, kind, key) {
      switch (kind) {
        case "agreed":
          return agreed.values.get(key);
        case "revoked":
          return isRevoked(now, key) ? "" : undefined;
        case "view":
        case "usage":
          return reports.list(now, kind).get(key)?.text;
      }
    },
    list(now, kind) {
      return Object.fromEntries([...reports.list(now, kind)].map(([id, { text }]) => [id, text]));
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    isRevoked,
    revoke,
    sweep(now: StoreTime): void {
      revoked.sweep(now);
      for (const kind of REPORT_KINDS) reports.list(now, kind);
    },
    restore: (record: Restored<"agreed" | "revoked">): void => {
      const [key] = record.ids;
      if (record.kind === "agreed") agreed.restore(key, record.value);
      else revoked.restore(key, record.value);
    },
    *entries(): Iterable<Write> {
      yield* revoked.entries();
      yield* agreed.entries();
    },
  };
}

/** `untilMs` is on the monotonic clock. */
function createReports() {
  type ById = Map<string, { readonly text: string; readonly untilMs: number }>;
  const byKind: Readonly<Record<ReportKind, ById>> = { view: new Map(), usage: new Map() };

  /** Drops those that have expired. */
  function list({ nowMs }: StoreTime, kind: ReportKind): ById {
    for (const [id, { untilMs }] of byKind[kind]) if (untilMs <= nowMs) byKind[kind].delete(id);
    return byKind[kind];
  }

  return {
    list,
    put(
      now: StoreTime,
      kind: ReportKind,
      id: string,
      { text, ttlMs }: { readonly text: string; readonly ttlMs: number },
    ): void {
      const reports = byKind[kind].size < MAX_REPORTS ? byKind[kind] : list(now, kind);
      if (!reports.has(id) && reports.size >= MAX_REPORTS) return;
      reports.set(id, { text, untilMs: now.nowMs + ttlMs });
    },
  };
}
