/** Judges whether people can sign in and work together. Pure. */
import { broken, held, seconds, unknown, type Verdict } from "../model/finding.ts";
import type { Step } from "../people/person.ts";
import type { Played } from "../people/sessions.ts";
import type { SignInAnswer } from "../people/sign-in.ts";
import { INTERRUPTED } from "./no-response.ts";

const NOT_TRIED = "not tried, because no connection was accepted";
const GIVE_CREDENTIALS =
  "give a key of CT_LOGIN_API_KEY with --api-key @FILE, or a user token with --user-token @FILE";

/** Undefined: not tried. */
export function judgeSignIn(answer: SignInAnswer | undefined): Verdict {
  if (answer === undefined) return unknown(NOT_TRIED, "see the finding about long polling");
  switch (answer.outcome) {
    case "signed in":
      return held(`signed in by ${answer.by}`);
    case "no way":
      return unknown(
        `the edge offers ${answer.ways.join(", ")}, at which a program cannot sign in by itself`,
        GIVE_CREDENTIALS,
      );
    case "failed":
      if (answer.detail === "interrupted") return INTERRUPTED;
      return broken(
        `the sign-in failed: ${answer.detail}`,
        "check the key or token; the log of the workers has the reason",
      );
  }
}

const CURE_BY_STEP: Readonly<Record<Step, string>> = {
  "create the session":
    "the log of the workers has the reason; `ct-edge list`: do workers take new sessions?",
  "connect the host": "see the findings about WebSockets, long polling and stickiness",
  "ask to join": "see the findings about idle connections and stickiness",
  "connect the guest": "see the findings about WebSockets, long polling and stickiness",
  "exchange messages": "see the findings about WebSockets and idle connections",
  "send a file": "see the finding about large messages",
};

const NOT_SIGNED_IN = "nobody could sign in";

/** Undefined: not tried, because there was no sign-in. */
export function judgeSession(played: Played | undefined): Verdict {
  if (played === undefined) return unknown(NOT_SIGNED_IN, GIVE_CREDENTIALS);
  if (played.outcome === "failed") return failed(played);
  const { transport, tookMs } = played;
  const text = `created, joined, exchanged messages and a file, closed, in ${seconds(tookMs)}`;
  return transport === "websocket"
    ? held(text)
    : held(text, "by long polling: clients did not get a WebSocket, and all they do costs more");
}

/** `second`: through /k/KEY, at another worker where there is one. */
export function judgeTwoWorkers(
  first: Played | undefined,
  second: Played | undefined,
  workers: number | undefined,
): Verdict {
  if (first === undefined || second === undefined) {
    return unknown(NOT_SIGNED_IN, GIVE_CREDENTIALS);
  }
  if (second.outcome === "failed") return failed(second);
  if (first.outcome === "failed")
    return unknown("the first session failed", CURE_BY_STEP[first.step]);
  if (first.tag !== undefined && second.tag !== undefined && first.tag !== second.tag) {
    return held("one session on each, the second by /k/KEY");
  }
  if (workers === 1)
    return held("there is one worker", "a single worker cannot drain: a restart interrupts people");
  return unknown(
    "both sessions were on the same worker",
    workers === undefined
      ? "with --token or --redis it is known whether there is another"
      : "`ct-edge list`: do the other workers take new sessions?",
  );
}

function failed({ step, detail }: Extract<Played, { outcome: "failed" }>): Verdict {
  if (/Incompatible protocol versions/i.test(detail)) {
    return unknown(detail, "use the ct-edge of the version that runs there");
  }
  if (detail === "interrupted" || detail === "no answer in time" || /aborted/.test(detail)) {
    return unknown(
      `${step}: no answer in time, or interrupted`,
      "run verify again; under load, when it is quieter",
    );
  }
  return broken(`${step}: ${detail}`, CURE_BY_STEP[step]);
}
