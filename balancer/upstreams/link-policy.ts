/**
 * Which requests go over a link: WebSockets, and those whose bodies are small in both directions. A large body costs more over
 * a link than over a connection of its own, and one of unknown length may be large.
 */
import { RESUME_PATH } from "../../shared/net/edge-headers.ts";
import type { RequestHead } from "../http1/head.ts";

/** A longer request body does not go over a link. */
export const MAX_LINK_BODY_BYTES = 65_536;

/** Below a base path too. All others are pages, plugins, logs, and live pages of operators. */
const SMALL_PATHS = [
  "/socket.io",
  "/api/session/",
  "/api/login/",
  "/api/meta",
  "/api/logout",
  RESUME_PATH,
];

/** `target`: as the worker gets it. `framing`: of the request's body. */
export function fitsLink(target: string, framing: RequestHead["framing"]): boolean {
  return isSmallBody(framing) && isSmallTarget(target);
}

function isSmallTarget(target: string): boolean {
  for (const path of SMALL_PATHS) if (target.startsWith(path)) return true;
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  return SMALL_PATHS.some((part) => path.includes(part));
}

function isSmallBody(framing: RequestHead["framing"]): boolean {
  if (framing.kind === "length") return framing.length <= MAX_LINK_BODY_BYTES;
  return framing.kind === "none";
}
