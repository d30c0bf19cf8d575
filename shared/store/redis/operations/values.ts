/**
 * Texts by key, in Redis. scripts/value.lua has the layout of each kind.
 */
import type { Clock } from "../../../base/clock.ts";
import { isWorkerId } from "../../../base/ids.ts";
import { MAX_AGREED_CHARS, MAX_REPORT_BYTES } from "../../schemas.ts";
import type { ReportKind, Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { expectReply, expectText, pairsOf, repliesSchema } from "../values/replies.ts";

/** What the scripts return for a report that readers reject. */
const INVALID = "?";

export function createValues(connection: Runner, ignored: Ignored, clock: Pick<Clock, "wallMs">) {
  async function put(...args: [kind: string, key: string, text: string, ttl: string]) {
    return expectText(await connection.run("put", ...args));
  }

  /** `census`: the name of `usage` in the version before. */
  async function list(kind: ReportKind | "census"): Promise<Record<string, string>> {
    const pairs = pairsOf(expectReply(repliesSchema, await connection.run("list", kind)));
    const reports = pairs.filter(([id, text]) => isWorkerId(id) && text !== INVALID);
    ignored.count("report", pairs.length - reports.length);
    return Object.fromEntries(reports);
  }

  return {
    async put(value) {
      const { kind, key } = value;
      switch (kind) {
        case "agreed":
          return await put(kind, key, limited("an agreement", value.text, MAX_AGREED_CHARS), "");
        case "revoked": {
          // `exp` is in this machine's time, so the rest is measured here: Redis's clock may differ.
          const leftMs = value.untilMs - clock.wallMs();
          return leftMs > 0 ? await put(kind, key, "", toMs(leftMs)) : "";
        }
        case "view":
        case "usage": {
          const text = limited("a report", value.text, MAX_REPORT_BYTES);
          return await put(kind, key, text, toMs(value.ttlMs));
        }
      }
    },
    async get(kind, key) {
      const [text] = expectReply(repliesSchema, await connection.run("get", kind, key));
      const isValid = kind === "agreed" || text !== INVALID;
      ignored.count("report", isValid ? 0 : 1);
      return isValid ? text : undefined;
    },
    async list(kind) {
      // One version: workers of the previous version report their usage as `census`.
      const [old, reports] = await Promise.all([
        kind === "usage" ? list("census") : {},
        list(kind),
      ]);
      return { ...old, ...reports };
    },
  } satisfies Partial<Store>;
}
