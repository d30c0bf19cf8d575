/**
 * Turns an operator's question into the head of a request, so that balancers answer with the rules that they route by. Pure.
 */
import { findRoute, routedRequest } from "../../balancer/routing/session-key.ts";
import { isSessionId, type SessionKey } from "../../shared/base/ids.ts";
import { readTag, type WorkerTag } from "../../shared/base/worker-tag.ts";
import type { ExplainedHead } from "../../shared/control/command.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { CommandError } from "../output/errors.ts";

/** How a request carries its key: the rules of balancer/routing/session-key.ts, and a `create` without a key. */
export const WAYS = [
  "header",
  "cookie",
  "path",
  "room",
  "claim",
  "sid",
  "token",
  "create",
  "none",
] as const;
export type Way = (typeof WAYS)[number];

export interface Question {
  readonly way: Way;
  /** As the operator wrote it; empty without a key. */
  readonly about: string;
  readonly head: ExplainedHead;
  readonly key: SessionKey | undefined;
  readonly tag: WorkerTag | undefined;
}

/** An engine.io id or a token of ours: a worker's tag and a random part. */
const TAGGED = /^[0-9a-f]{16}[A-Za-z0-9]{24}$/;

/** The way without `--as`. Empty: a request for a new session. */
export function guessWay(about: string): Way {
  if (about === "") return "create";
  if (TAGGED.test(about)) return "sid";
  return isSessionId(about) ? "room" : "header";
}

/** Throws `CommandError` when no request can carry `about` in that way. */
export function askFor(about: string, way: Way): Question {
  const isFree = way === "create" || way === "none";
  if (isFree !== (about === "")) {
    throw new CommandError(
      isFree
        ? `--as ${way} is a request without a key; leave the argument out`
        : `--as ${way} needs a key, a room or a sid as its argument`,
    );
  }
  // A terminal sends UTF-8; keys are bytes.
  const bytes = Buffer.from(about, "utf8").toString("latin1");
  const head = headOf(bytes, way);
  const route = findRoute(routedRequest(head.method, head.target, head.fields));
  const isTag = way === "sid" || way === "token";
  const tag = route.tag?.rule === way ? route.tag.tag : undefined;
  const key = route.key?.rule === way ? route.key.key : undefined;
  if (!isFree && (isTag ? tag !== readTag(bytes) || tag === undefined : key !== bytes)) {
    throw new CommandError(`${escapeForTerminal(about, 80)}: ${EXPECTED[way]}`);
  }
  return { way, about, head, key, tag };
}

const NO_ID = "not an id that a worker issued; such an id begins with 16 hexadecimal digits";
const NO_ROOM =
  "not a session id; it has 24 letters and digits, as `ct-edge sessions --full` shows it";
const NO_KEY = "a request cannot carry this key; use 1 to 8192 bytes, no control characters";

/** The error of each way. */
const EXPECTED: Readonly<Record<Way, string>> = {
  header: `${NO_KEY}, and no blanks or quotes around it`,
  cookie: `${NO_KEY}, no semicolon, and no blanks or quotes around it`,
  path: `${NO_KEY}, and no quotes around it`,
  room: NO_ROOM,
  claim: NO_ROOM,
  sid: NO_ID,
  token: NO_ID,
  create: "",
  none: "",
};

function headOf(about: string, way: Way): ExplainedHead {
  switch (way) {
    case "header":
      return get("/", { name: "ctstickiness", value: trimmed(about) });
    case "cookie":
      return get("/", { name: "cookie", value: `ctstickiness=${about}` });
    case "path":
      return get(`/k/${percentEncoded(about)}/`);
    case "room":
      return { method: "POST", target: `/api/session/join/${about}`, fields: [] };
    case "claim":
      return get("/socket.io/?EIO=4&transport=polling", {
        name: "x-oct-jwt",
        value: `.${Buffer.from(JSON.stringify({ room: about })).toString("base64url")}.`,
      });
    case "sid":
      return get(`/socket.io/?EIO=4&transport=polling&sid=${about}`);
    case "token":
      return { method: "POST", target: `/api/login/poll/${about}`, fields: [] };
    case "create":
      return { method: "POST", target: "/api/session/create", fields: [] };
    case "none":
      return get("/");
  }
}

function get(target: string, ...fields: ExplainedHead["fields"]): ExplainedHead {
  return { method: "GET", target, fields };
}

/** As header values are parsed (RFC 9110 §5.5). */
function trimmed(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** Percent-encodes all bytes (given as latin1) that are not unreserved (RFC 3986 §2.3). */
function percentEncoded(bytes: string): string {
  return bytes.replace(
    /[^A-Za-z0-9._~-]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
