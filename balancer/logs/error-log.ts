/**
 * The line of one failed request in error.log, in the form of nginx's:
 *
 *     2026/11/25 19:23:28 [error] pid#0: *7 what happened, client: 192.0.2.1, server: -, request: "GET / HTTP/1.1",
 *     upstream: "http://10.0.0.5:3001/", host: "edge.example.com", request_id: "5f1c…-7"
 *
 * (on one line). Pure.
 */
import { describeError } from "../../shared/base/errors.ts";
import { escapeUnsafe, maskSecrets } from "./access-log.ts";

/** A failed request. */
export interface Failed {
  readonly error: unknown;
  /** Status of the response to the client; 0 when none could be sent. */
  readonly status: number;
  readonly peerAddress: string;
  readonly requestId: string;
  readonly requestLine: string;
  readonly host: string | undefined;
  /** `host:port` of the worker that failed it; undefined when no worker did. */
  readonly worker: string | undefined;
}

const MAX_PART_CHARS = 1024;

/** The line with its line feed. */
export function errorLine(failed: Failed, wallMs: number, pid: number): string {
  const parts = [
    `${sentence(failed)}`,
    `client: ${failed.peerAddress || "-"}`,
    "server: -",
    `request: "${part(maskSecrets(failed.requestLine))}"`,
  ];
  if (failed.worker !== undefined) parts.push(`upstream: "http://${failed.worker}/"`);
  if (failed.host !== undefined) parts.push(`host: "${part(failed.host)}"`);
  parts.push(`request_id: "${failed.requestId}"`);
  return `${time(wallMs)} [${levelOf(failed)}] ${pid}#0: *${numberOf(failed.requestId)} ${parts.join(", ")}\n`;
}

/** Client errors do not concern the operator; nginx logs them at the same level. */
export function levelOf(failed: Failed): "info" | "error" {
  return failed.status >= 400 && failed.status < 500 ? "info" : "error";
}

function sentence({ error }: Failed): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : undefined;
  const text = describeError(error) + (cause === undefined ? "" : ` (${cause.message})`);
  return part(text.replaceAll("\n", " "));
}

function part(text: string): string {
  return escapeUnsafe(text.length > MAX_PART_CHARS ? `${text.slice(0, MAX_PART_CHARS)}...` : text);
}

/** The count in a request's id, in the place where nginx writes the connection number. */
function numberOf(requestId: string): number {
  return Number.parseInt(requestId.slice(requestId.lastIndexOf("-") + 1), 36) || 0;
}

function time(wallMs: number): string {
  const date = new Date(wallMs);
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}/${two(date.getMonth() + 1)}/${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
