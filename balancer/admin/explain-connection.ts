/**
 * Explains over what a balancer would send a request to a worker, the link or a connection of its own, and what that means for
 * WebSockets when their session moves.
 */
import type { ExplainedHead } from "../../shared/control/command.ts";
import type { ExplainedConnection, ExplainedMove } from "../../shared/control/explanation.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { CHUNKED, type Framing, NO_BODY } from "../http1/framing.ts";
import { fitsLink } from "../upstreams/link-policy.ts";
import type { WorkerLinks } from "../upstreams/worker-links.ts";

/** `target`: as the worker gets it. */
export function explainConnection(
  target: string,
  fields: ExplainedHead["fields"],
  { state }: Pick<WorkerLinks, "state">,
): ExplainedConnection {
  const framing = framingOf(fields);
  if (!fitsLink(target, NO_BODY)) return { over: "own", why: "path" };
  if (!fitsLink(target, framing)) return { over: "own", why: "body" };
  return state === "open" ? { over: "link" } : { over: "own", why: state };
}

export function explainMove(
  { resumeVersion }: Pick<WorkerRecord, "resumeVersion">,
  { state }: Pick<WorkerLinks, "state">,
): ExplainedMove {
  if (state !== "open") return { webSockets: "reconnect", why: state };
  if (resumeVersion !== RESUME_VERSION) return { webSockets: "reconnect", why: "version" };
  return { webSockets: "stay open" };
}

/** Of a head that no client has sent, so that nothing is to be checked. */
function framingOf(fields: ExplainedHead["fields"]): Framing {
  const find = (wanted: string): string | undefined =>
    fields.find(({ name }) => name.toLowerCase() === wanted)?.value;
  if (find("transfer-encoding") !== undefined) return CHUNKED;
  const length = find("content-length");
  return length === undefined ? NO_BODY : { kind: "length", length: Number(length) };
}
