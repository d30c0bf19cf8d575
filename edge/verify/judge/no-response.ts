/** What the absence of a response means, and what to do. Pure. */
import { broken, unknown, type Verdict } from "../model/finding.ts";
import type { Failed, FailureReason } from "../model/observations.ts";

export const INTERRUPTED = unknown("interrupted", "run verify again");

/** Cause and cure. */
const MEANINGS: Readonly<Record<FailureReason, readonly [string, string]>> = {
  dns: ["the host name has no address", "correct the URL, or add the name to the DNS"],
  refused: [
    "the connection was refused",
    "start what listens there, or correct the port of the URL",
  ],
  unreachable: ["the host cannot be reached", "check the network and the firewalls on the way"],
  timeout: ["no response in time", "check that the host runs, and the firewalls on the way"],
  tls: [
    "the TLS handshake failed",
    "use http:// for a port without TLS; otherwise check the certificate of what listens there",
  ],
  cut: [
    "the connection was closed without a response",
    "use https:// for a port with TLS; otherwise see the log of what listens there",
  ],
  "not-http": [
    "what listens there does not speak HTTP",
    "correct the port of the URL, or its scheme",
  ],
  interrupted: [INTERRUPTED.cause, INTERRUPTED.cure],
  other: ["the request failed", "see the reason"],
};

/** Of what depends on the response. */
export function noResponse(failed: Failed): Verdict {
  return unknown(...meaningOf(failed));
}

/** Of what should respond. */
export function doesNotRespond(failed: Failed): Verdict {
  return failed.reason === "interrupted" ? INTERRUPTED : broken(...meaningOf(failed));
}

/** Cause and cure. */
export function meaningOf({ reason, detail }: Failed): [cause: string, cure: string] {
  const [cause, cure] = MEANINGS[reason];
  return [reason === "interrupted" ? cause : `${cause} (${detail})`, cure];
}
