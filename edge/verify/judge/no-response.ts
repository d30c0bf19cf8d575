/** What the absence of a response means, and what to do. Pure. */
import { broken, unknown, type Verdict } from "../model/finding.ts";
import type { Failed, FailureReason } from "../model/observations.ts";

interface Meaning {
  readonly cause: string;
  readonly cure: string;
}

export const INTERRUPTED = unknown("interrupted", "run verify again");

const MEANINGS: Readonly<Record<FailureReason, Meaning>> = {
  dns: {
    cause: "the host name has no address",
    cure: "correct the URL, or add the name to the DNS",
  },
  refused: {
    cause: "the connection was refused",
    cure: "start what listens there, or correct the port of the URL",
  },
  unreachable: {
    cause: "the host cannot be reached",
    cure: "check the network and the firewalls on the way",
  },
  timeout: {
    cause: "no response in time",
    cure: "check that the host runs, and the firewalls on the way",
  },
  tls: {
    cause: "the TLS handshake failed",
    cure: "use http:// for a port without TLS; otherwise check the certificate of what listens there",
  },
  cut: {
    cause: "the connection was closed without a response",
    cure: "use https:// for a port with TLS; otherwise see the log of what listens there",
  },
  "not-http": {
    cause: "what listens there does not speak HTTP",
    cure: "correct the port of the URL, or its scheme",
  },
  interrupted: INTERRUPTED,
  other: { cause: "the request failed", cure: "see the reason" },
};

/** Of what depends on the response. */
export function noResponse(failed: Failed): Verdict {
  const { cause, cure } = meaningOf(failed);
  return unknown(cause, cure);
}

/** Of what should respond. */
export function doesNotRespond(failed: Failed): Verdict {
  const { cause, cure } = meaningOf(failed);
  return failed.reason === "interrupted" ? INTERRUPTED : broken(cause, cure);
}

export function meaningOf({ reason, detail }: Failed): Meaning {
  const { cause, cure } = MEANINGS[reason];
  return { cause: reason === "interrupted" ? cause : `${cause} (${detail})`, cure };
}
