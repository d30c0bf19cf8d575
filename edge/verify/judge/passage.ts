/** Judges what passes through whatever stands in front: WebSockets, long polls, idle connections, bodies. Pure. */
import { broken, held, seconds, unknown, type Verdict } from "../model/finding.ts";
import {
  type Handshake,
  type HttpAnswer,
  headerValues,
  type Responded,
  type Silence,
} from "../model/observations.ts";
import type { Played } from "../people/sessions.ts";
import { ANNOUNCED_BYTES, type StreamAnswer } from "../probes/streaming.ts";
import { doesNotRespond, INTERRUPTED, meaningOf, noResponse } from "./no-response.ts";

const UPGRADE_CURE =
  "let upgrades pass: in nginx proxy_http_version 1.1 and the headers Upgrade and Connection, elsewhere the option for WebSockets";
/** Engine.io's first packet follows the upgrade at once. */
const SLOW_MS = 3000;

// --- WebSockets and long polling ---

export function judgeWebSocket(handshake: Handshake): Verdict {
  if (handshake.outcome === "open") {
    if (handshake.tookMs > SLOW_MS) {
      return broken(
        `the first message came ${seconds(handshake.tookMs)} after the upgrade`,
        "turn buffering off in what is in front, also for WebSockets",
      );
    }
    return held("an upgrade and its first message passed");
  }
  if (handshake.outcome === "failed") {
    if (handshake.reason === "interrupted") return INTERRUPTED;
    return broken(`an upgrade failed: ${meaningOf(handshake)[0]}`, UPGRADE_CURE);
  }
  if (handshake.status === 502 || handshake.status === 503 || handshake.status === 504) {
    return broken(
      `an upgrade gets status ${handshake.status}`,
      "check that a worker can be reached (`ct-edge list`), and the upstream of what is in front",
    );
  }
  return broken(`an upgrade gets status ${handshake.status} instead of 101`, UPGRADE_CURE);
}

/** Two handshakes, one after the other. */
export function judgePolling(first: Handshake, second: Handshake): Verdict {
  for (const handshake of [first, second]) {
    if (handshake.outcome === "failed") return doesNotRespond(handshake);
    if (handshake.outcome === "response") {
      return broken(
        `/socket.io/ gets status ${handshake.status}`,
        handshake.status === 503
          ? "`ct-edge list`: are there workers, and do balancers reach them?"
          : "let what is in front pass all paths below the URL, with their query",
      );
    }
  }
  if (first.outcome === "open" && first.tag === undefined) {
    return broken(
      "the server accepts connections, but is not a worker of this product",
      "correct the URL, or the route of /socket.io/ in what is in front",
    );
  }
  if (first.outcome === "open" && second.outcome === "open" && first.sid === second.sid) {
    return broken(
      "two connections got the same id: something in front responds from a cache",
      "turn caching off in what is in front; the edge forbids it by Cache-Control: no-store",
    );
  }
  return held("handshakes passed");
}

// --- idle connections ---

/** What the edge itself leaves idle: a ping every 25 s, a poll of 30 s. */
const NEEDED_MS = 30_000;
const NAMES = { websocket: "WebSocket", "long poll": "long poll" } as const;
/** A poll that ends this much early was not cut. */
const TOLERANCE_MS = 500;

export function judgeIdle(silences: readonly Silence[], wasInterrupted: boolean): Verdict {
  for (const { what, end } of silences) {
    if (end.how === "cut" && !wasInterrupted) {
      return broken(
        `a ${NAMES[what]} was cut after ${seconds(end.afterMs)} (${end.detail})`,
        "raise the timeouts of what is in front to 60 s or more, an hour for WebSockets: proxy_read_timeout in nginx; timeout client, server and tunnel in HAProxy; the idle timeout of a cloud's load balancer",
      );
    }
  }
  if (wasInterrupted) return INTERRUPTED;
  const missing = silences.find(({ end }) => end.how === "not opened");
  if (missing?.end.how === "not opened") {
    return unknown(
      `the ${NAMES[missing.what]} did not open (${missing.end.detail})`,
      "see the other findings",
    );
  }
  const shortest = Math.min(...silences.map(({ watchedMs }) => watchedMs));
  const early = silences.find(
    ({ end }) => end.how === "answered" && end.afterMs < NEEDED_MS - TOLERANCE_MS,
  );
  if (early?.end.how === "answered") {
    return unknown(
      `the edge ended the long poll itself after ${seconds(early.end.afterMs)}: its worker is about to stop`,
      "run verify again when no worker is draining",
    );
  }
  if (shortest < NEEDED_MS - TOLERANCE_MS) {
    return unknown(
      `nothing was cut in ${seconds(shortest)}, but long polls last 30 s`,
      "run verify without --quick",
    );
  }
  const longest = Math.max(...silences.map(({ watchedMs }) => watchedMs));
  return held(`a long poll lasted 30 s, a WebSocket ${seconds(longest)}`);
}

// --- buffering and sizes ---

export function judgeRequestBuffering(upload: StreamAnswer): Verdict {
  switch (upload.outcome) {
    case "silence":
      return broken(
        "what is in front waits for a whole request before it passes it on",
        "turn it off: proxy_request_buffering off in nginx, no http-buffer-request in HAProxy, no request_buffers in Caddy",
      );
    case "failed":
      return noResponse(upload);
    case "response":
      if (upload.status === 413) {
        return unknown(
          "the request was refused for its size",
          "see the finding about large messages",
        );
      }
      return upload.status === 403
        ? held("the edge responded before a request was complete")
        : unknown(
            `another response than the edge's (status ${upload.status})`,
            "see the other findings",
          );
  }
}

/** `undefined`: no operator's token was given. */
export function judgeResponseBuffering(events: StreamAnswer | undefined): Verdict {
  if (events === undefined) {
    return unknown(
      "only the dashboard's events show it",
      "give a token of CT_DASHBOARD_TOKENS with the scope read: --token @FILE",
    );
  }
  switch (events.outcome) {
    case "silence":
      return broken(
        "the dashboard's events do not arrive: what is in front waits for a whole response before it passes it on",
        "turn buffering of responses off: proxy_buffering off in nginx, flush_interval -1 in Caddy",
      );
    case "failed":
      return noResponse(events);
    case "response":
      return events.status === 200
        ? held("the dashboard's events arrived at once")
        : unknown(
            `the dashboard refuses the token (status ${events.status})`,
            "give a token of CT_DASHBOARD_TOKENS with the scope read",
          );
  }
}

const SIZE_CURE =
  "allow bodies of 20 MiB or more in what is in front: client_max_body_size 20m in nginx, request_body max_size in Caddy, a rule on req.body_size in HAProxy";

/** `upload`: of a request that announces 16 MiB. `file`: of 2 MiB by a client that polls; undefined: not tried. */
export function judgeBodyLimit(upload: StreamAnswer, file: Played | undefined): Verdict {
  if (upload.outcome === "response" && upload.status === 413) {
    return broken("a request of 16 MiB is refused (status 413)", SIZE_CURE);
  }
  if (file === undefined) {
    return unknown(
      "no session could be opened to send a file in",
      "see the findings about sign-in and sessions",
    );
  }
  if (file.outcome === "failed") {
    return file.step === "send a file"
      ? broken(`a file of 2 MiB did not pass by long polling (${file.detail})`, SIZE_CURE)
      : unknown(`${file.step}: ${file.detail}`, "see the findings about sessions");
  }
  return upload.outcome === "response"
    ? held(`a file of 2 MiB passed, and a head that announces ${ANNOUNCED_BYTES / 1024 / 1024} MiB`)
    : held("a file of 2 MiB passed");
}

// --- cookies of what is in front ---

/** Headers of responses to which the edge itself adds no cookie. */
export function judgeFrontCookie(responses: readonly Pick<Responded, "headers">[]): Verdict {
  const names = new Set(
    responses.flatMap(({ headers }) =>
      headerValues(headers, "set-cookie").map((cookie) => cookie.split("=", 1)[0]?.trim() ?? ""),
    ),
  );
  if (responses.length === 0) return unknown("no response", "see the other findings");
  if (names.size === 0) return held("responses have no cookie of their own");
  return broken(
    `something in front sets the cookie ${[...names].join(", ")}, which the edge does not`,
    "turn its stickiness off: any balancer finds the worker of any session, and a sticky client stays at a balancer that is gone",
  );
}

/** Headers of responses of any outcome. */
export function headersOf(
  answers: readonly (HttpAnswer | Handshake)[],
): Pick<Responded, "headers">[] {
  return answers.filter((answer) => answer.outcome !== "failed");
}
