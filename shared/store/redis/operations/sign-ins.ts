/** Sign-ins at identity providers, in Redis. */
import type { Clock } from "../../../base/clock.ts";
import { signInSchema } from "../../schemas.ts";
import type { Store, StoredSignIn } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_SIGN_IN_BYTES, MAX_VALUE_BYTES } from "../values/limits.ts";
import { expectReply, expectWord, parseJson, repliesSchema } from "../values/replies.ts";

/** Id, revision, keys and data. */
const FIELDS = 4;

export function createSignIns(connection: Runner, ignored: Ignored, clock: Pick<Clock, "wallMs">) {
  function readAll(reply: unknown): StoredSignIn[] {
    const flat = expectReply(repliesSchema, reply);
    const found: StoredSignIn[] = [];
    for (let at = 0; at + FIELDS <= flat.length; at += FIELDS) {
      const [id, revision, keys = "", text = ""] = flat.slice(at, at + FIELDS);
      const data = parseJson(text);
      const signIn = { id, revision: Number(revision), keys: parseJson(keys), data };
      const parsed = data === undefined ? undefined : signInSchema.safeParse(signIn).data;
      if (parsed === undefined) ignored.count("sign-in", 1);
      else found.push(parsed);
    }
    return found;
  }

  return {
    async putSignIn({ id, revision, keys, data, ttlMs, dueInMs }) {
      const reply = await connection.run(
        "putSignIn",
        id,
        String(revision),
        limited("a sign-in's keys", toJson(keys), MAX_VALUE_BYTES),
        limited("a sign-in", toJson(data), MAX_SIGN_IN_BYTES),
        toMs(Math.max(1, ttlMs)),
        dueInMs === undefined ? "" : toMs(dueInMs),
      );
      return expectWord(reply, ["done", "stale"]);
    },
    async claimDueSignIns(limit, leaseMs) {
      const reply = await connection.run("claimDueSignIns", String(limit), toMs(leaseMs));
      return readAll(reply);
    },
    async findSignIns(by) {
      const args = "id" in by ? (["id", by.id] as const) : (["key", by.key] as const);
      return readAll(await connection.run("findSignIns", ...args));
    },
    async endSignIn(id, untilMs) {
      // As in values.ts: it expires with the token, whose expiry is in this machine's time.
      await connection.run("endSignIn", id, toMs(untilMs - clock.wallMs()));
    },
  } satisfies Partial<Store>;
}
