/**
 * Values that are written once, in Redis.
 */
import { z } from "zod";
import { MAX_AGREED_CHARS, type Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited } from "../values/arguments.ts";
import { MAX_VALUE_BYTES } from "../values/limits.ts";
import { expectReply } from "../values/replies.ts";

const textSchema = z.string().max(MAX_VALUE_BYTES);

export function createPutIfAbsent(connection: Runner): Pick<Store, "putIfAbsent"> {
  return {
    async putIfAbsent(name, proposal) {
      const text = limited("an agreement", proposal, MAX_AGREED_CHARS);
      return expectReply(
        textSchema,
        await connection.run("putIfAbsent", "put_if_absent", name, text),
      );
    },
  };
}
