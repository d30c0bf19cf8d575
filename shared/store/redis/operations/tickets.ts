/**
 * Tickets in Redis: short-lived questions that one process asks and another may answer.
 */
import type { Store, Ticket } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_TICKET_BYTES } from "../values/limits.ts";
import { expectReply, expectWord, pairsOf, parseJson, repliesSchema } from "../values/replies.ts";

export function createTickets(connection: Runner, ignored: Ignored) {
  /** Treats an invalid ticket as missing. */
  function toTicket(token: string, question: string, answer?: string): Ticket | undefined {
    const asked = parseJson(question);
    const given = answer === undefined ? undefined : parseJson(answer);
    if (asked === undefined || (answer !== undefined && given === undefined)) {
      ignored.count("ticket", 1);
      return undefined;
    }
    return answer === undefined
      ? { state: "waiting", token, question: asked }
      : { state: "answered", token, question: asked, answer: given };
  }

  return {
    async putTicket({ kind, token, question, group, ttlMs }) {
      await connection.run(
        "putTicket",
        kind,
        token,
        limited("a ticket's question", toJson(question), MAX_TICKET_BYTES),
        toMs(Math.max(1, ttlMs)),
        group === undefined ? "" : toJson(group),
      );
    },
    async readTicket(kind, token) {
      const reply = await connection.run("readTicket", kind, token);
      const [question, answer] = expectReply(repliesSchema, reply);
      return question === undefined ? undefined : toTicket(token, question, answer);
    },
    async answerTicket(kind, token, answer) {
      const text = limited("a ticket's answer", toJson(answer), MAX_TICKET_BYTES);
      const reply = await connection.run("answerTicket", kind, token, text);
      return expectWord(reply, ["done", "gone", "answered"]);
    },
    async dropTicket(kind, token) {
      await connection.run("dropTicket", kind, token);
    },
    async ticketsOf(kind, group) {
      const reply = await connection.run("ticketsOf", kind, toJson(group));
      const waiting = pairsOf(expectReply(repliesSchema, reply));
      return waiting.flatMap(([token, question]) => toTicket(token, question) ?? []);
    },
  } satisfies Partial<Store>;
}
