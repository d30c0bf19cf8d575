/**
 * What an operator asks about, as the head of a request that would be routed by it: so that balancers answer by the rules
 * that they route by. Pure.
 */

import { findRoute } from "../../balancer/routing/session-key.ts";
import { isSessionId, type SessionKey } from "../../shared/base/ids.ts";
import { readTag, type WorkerTag } from "../../shared/base/tag.ts";
import type { ExplainedHead } from "../../shared/control/command.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { CommandError } from "../output/errors.ts";

/** How a request says where it belongs: the rules of balancer/routing/session-key.ts, and a `create` without a key. */
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
  /** As the operator wrote it; empty without. */
  readonly about: string;
  readonly head: ExplainedHead;
  readonly key: SessionKey | undefined;
  readonly tag: WorkerTag | undefined;
}

/** An engine.io id or a token of ours: a worker's tag, and what nobody can guess. */
const TAGGED = /^[0-9a-f]{16}[A-Za-z0-9]{24}$/;

/** How `about` is meant when the operator does not say it. Empty: a request for a new session. */
export function guessWay(about: string): Way {
  if (about === "") return "create";
  if (TAGGED.test(about)) return "sid";
  return isSessionId(about) ? "room" : "header";
}

/** Throws `CommandError` when no request can say `about` in that way. */
export function askFor(about: string, way: Way): Question {
  const isFree = way === "create" || way === "none";
  if (isFree !== (about === "")) {
    throw new CommandError(
      isFree
        ? `--as ${way} is a request without a key: give none`
        : `--as ${way} needs a key, a room or a sid`,
    );
  }
  // A terminal sends UTF-8; keys are bytes.
  const bytes = Buffer.from(about, "utf8").toString("latin1");
  const head = headOf(bytes, way);
  const route = findRoute({
    ...head,
    fields: head.fields.map((field) => ({ ...field, lower: field.name.toLowerCase() })),
  });
  const isTag = way === "sid" || way === "token";
  const tag = route.tag?.rule === way ? route.tag.tag : undefined;
  const key = route.key?.rule === way ? route.key.key : undefined;
  if (!isFree && (isTag ? tag !== readTag(bytes) || tag === undefined : key !== bytes)) {
    throw new CommandError(`${escapeForTerminal(about, 80)}: ${EXPECTED[way]}`);
  }
  return { way, about, head, key, tag };
}

const NO_ID = "no id that a worker issued; it begins with 16 hexadecimal digits";
const NO_ROOM = "no session's id; that has 24 letters and digits, as `ct-edge sessions` shows it";
const NO_KEY = "a request cannot say that; a key has 1 to 8192 bytes, no control characters";

/** What is expected of the ways that can be wrong. */
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
      return get(`/k/${escaped(about)}/`);
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

/** As a header's value is read: RFC 9110 §5.5. */
function trimmed(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** Every byte (given as latin1) that is not plain in a path as `%XX`. */
function escaped(bytes: string): string {
  return bytes.replace(
    /[^A-Za-z0-9._~-]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
