/** Sign-ins at identity providers, in Redis. */
import { z } from "zod";
import type { Clock } from "../../../base/clock.ts";
import type { Store, StoredSignIn } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_SIGN_IN_BYTES, MAX_VALUE_BYTES } from "../values/limits.ts";
import { expectReply, expectWord, parseJson, repliesSchema } from "../values/replies.ts";

const keysSchema = z.array(z.string());
/** Id, revision, keys and data. */
const FIELDS = 4;

export function createSignIns(
  connection: Runner,
  ignored: Ignored,
  clock: Pick<Clock, "wallMs">,
): Pick<Store, "putSignIn" | "findSignIn" | "claimDueSignIns" | "signInsOf" | "endSignIn"> {
  function readAll(reply: unknown): StoredSignIn[] {
    const flat = expectReply(repliesSchema, reply);
    const found: StoredSignIn[] = [];
    for (let at = 0; at + FIELDS <= flat.length; at += FIELDS) {
      const [id = "", revision, keys = "", text = ""] = flat.slice(at, at + FIELDS);
      const parsed = keysSchema.safeParse(parseJson(keys)).data;
      const data = parseJson(text);
      if (parsed === undefined || data === undefined) ignored.count("sign-in", 1);
      else found.push({ id, revision: Number(revision), keys: parsed, data });
    }
    return found;
  }

  return {
    async putSignIn({ id, revision, keys, data, ttlMs, dueInMs }) {
      const reply = await connection.run(
        "putSignIn",
        "put_sign_in",
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
      const reply = await connection.run(
        "claimDueSignIns",
        "claim_due_sign_ins",
        String(limit),
        toMs(leaseMs),
      );
      return readAll(reply);
    },
    async findSignIn(id) {
      return readAll(await connection.run("findSignIn", "find_sign_in", id))[0];
    },
    async signInsOf(key) {
      return readAll(await connection.run("signInsOf", "sign_ins_of", key));
    },
    async endSignIn(id, untilMs) {
      // As in tokens.ts: it expires with the token, whose expiry is in this machine's time.
      await connection.run("endSignIn", "end_sign_in", id, toMs(untilMs - clock.wallMs()));
    },
  };
}
