/**
 * `ct-edge explain`: where a request goes, by which rule, and which workers were considered. The balancers answer, with the
 * code that routes.
 */

import { type Command, Option } from "commander";
import { writeExplanation } from "../../../shared/control/explanation.ts";
import { answerTo, type ExplainAnswer } from "../../explain/answer.ts";
import { explainText, problemOf } from "../../explain/format-explanation.ts";
import { askFor, guessWay, WAYS, type Way } from "../../explain/question.ts";
import { type CommonFlags, createStoreCommand, fullOption } from "../command.ts";
import { findSessionId } from "./events.ts";

interface Flags extends CommonFlags {
  readonly as?: Way;
}

export function explainCommand(): Command {
  return createStoreCommand<Flags>({
    name: "explain",
    description: "Shows which worker a request goes to, by which rule, and why not to another.",
    args: {
      "[about]":
        "A session key, a room (its beginning and … is enough) or a sid; a new session by default.",
    },
    options: [
      new Option(
        "--as <way>",
        "How the request carries the key; guessed from the key by default.",
      ).choices(WAYS),
      fullOption(),
    ],
    async run({ store }, { full, as }, about) {
      const beginning = /^([A-Za-z0-9]{1,23})(…|\.\.\.)$/.exec(about)?.[1];
      const meant = beginning === undefined ? about : await findSessionId(store, beginning);
      const question = askFor(meant, as ?? guessWay(meant));
      const answer = await answerTo(question, store, full === true);
      const problem = problemOf(answer);
      return {
        json: withFormerNames(answer),
        out: explainText(answer),
        ...(problem !== undefined && { notes: [problem], status: 1 }),
      };
    },
  });
}

/** As `--json` prints it: explanations with the names of the version before beside the present ones. */
function withFormerNames(answer: ExplainAnswer): unknown {
  const balancers = answer.balancers.map((balancer) =>
    balancer.outcome === "explained"
      ? { ...balancer, explanation: writeExplanation(balancer.explanation) }
      : balancer,
  );
  return { ...answer, balancers };
}
