/**
 * Asks a worker to go on with a WebSocket whose own worker has gone or has given its session away. It is a request like any
 * other: it goes to the session's owner, follows a 421, waits for a take-over, and is tried again where that is safe.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../shared/base/clock.ts";
import {
  RESUME_PATH,
  RESUME_STATE_HEADER,
  RESUME_TICKET_HEADER,
  resumeState,
} from "../../shared/net/edge-headers.ts";
import type { Client } from "../downstream/exchange-contract.ts";
import { makeField } from "../http1/fields.ts";
import type { ForwardingFields } from "../http1/forwarding.ts";
import { NO_BODY } from "../http1/framing.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Route } from "../routing/session-key.ts";
import { discard } from "../transport/transport.ts";
import { type ExchangeDeps, ProxyExchange } from "./exchange.ts";
import type { ResumeOutcome, ResumeRequest, SendResume } from "./tunnels.ts";

export function createSendResume(deps: Omit<ExchangeDeps, "tunnels">): SendResume {
  return (request, outcome) => {
    const client = new ResumeClient(request, outcome);
    const route: Route = {
      tag: undefined,
      key: { rule: "room", key: request.session },
      target: RESUME_PATH,
      isCreate: false,
      isSignIn: false,
      isRepeatable: true,
    };
    const exchange = new ProxyExchange(headOf(request, deps.clock), route, client, {
      ...deps,
      tunnels: {
        open({ worker, upstream, session, isResumable, rest }) {
          if (isResumable && session !== undefined) {
            outcome.resumed({ worker, upstream, session }, rest);
            return;
          }
          // A worker of another version may accept any upgrade.
          discard(worker);
          outcome.refused("no support", true);
        },
      },
    });
    exchange.start();
    return () => exchange.onAbort();
  };
}

interface Refusal {
  readonly reason: string;
  readonly isFinal: boolean;
}

/** What a worker's status says about the WebSocket. */
const REFUSALS: Readonly<Record<number, Refusal>> = {
  // The path is unknown to a worker of the version before.
  404: { reason: "no support", isFinal: true },
  403: { reason: "bad ticket", isFinal: true },
  409: { reason: "used ticket", isFinal: true },
  410: { reason: "peer gone", isFinal: true },
  421: { reason: "owner unknown", isFinal: false },
  503: { reason: "undecided", isFinal: false },
};
const OTHER: Refusal = { reason: "refused", isFinal: false };

function headOf(request: ResumeRequest, clock: Clock): RequestHead {
  const key = randomBytes(16).toString("base64");
  const { cause, confirmed, repeated, beganMs } = request;
  const fields = [
    ...WEBSOCKET,
    makeField("Sec-WebSocket-Key", key),
    makeField(RESUME_TICKET_HEADER, request.ticket),
  ];
  const fixed = fields.map(({ name, value }) => `${name}: ${value}\r\n`).join("");
  return {
    ...HEAD,
    // Those of `HEAD` are not forwarded: `forwardedHead` writes its own.
    fields: [...HEAD.fields, ...fields],
    /** Of this attempt: the request may have waited for a worker. */
    get kept() {
      const forMs = Math.max(0, Math.round(clock.nowMs() - beganMs));
      return `${fixed}${RESUME_STATE_HEADER}: ${resumeState({ cause, confirmed, repeated, forMs })}\r\n`;
    },
  };
}

const WEBSOCKET = [makeField("Sec-WebSocket-Version", "13")];

const HEAD: RequestHead = {
  line: `GET ${RESUME_PATH} HTTP/1.1`,
  method: "GET",
  target: RESUME_PATH,
  minor: 1,
  fields: [makeField("Connection", "Upgrade"), makeField("Upgrade", "websocket")],
  kept: undefined,
  values: {
    referer: undefined,
    userAgent: undefined,
    authorization: undefined,
    cookies: "",
    keys: [],
    tokens: [],
    forwardedFor: undefined,
    hasExpect: false,
  },
  host: undefined,
  framing: NO_BODY,
  connection: ["upgrade"],
  keepAlive: true,
};

/** Takes the place of a client: any response but a 101 is a refusal. */
class ResumeClient implements Client {
  readonly requestId: string;
  readonly peerAddress = "";
  readonly forwarding: ForwardingFields;
  readonly isLastResponse = false;
  readonly #outcome: ResumeOutcome;
  #status = 0;

  constructor({ requestId, forwarding }: ResumeRequest, outcome: ResumeOutcome) {
    this.requestId = requestId;
    this.forwarding = forwarding;
    this.#outcome = outcome;
  }

  sendInterim(): void {}

  beginResponse(status: number): void {
    this.#status = status;
  }

  send(): boolean {
    return true;
  }

  finish(): void {
    const { reason, isFinal } = REFUSALS[this.#status] ?? OTHER;
    this.#outcome.refused(reason, isFinal);
  }

  fail(): void {
    this.#outcome.refused("no worker", false);
  }

  respond(): void {
    this.#outcome.refused("no worker", false);
  }

  pauseBody(): void {}

  resumeBody(): void {}

  detach(): never {
    throw new Error("a resumption has no connection of a client");
  }
}
