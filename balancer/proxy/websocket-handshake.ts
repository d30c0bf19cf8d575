/**
 * The WebSocket handshake: which requests may become a tunnel, and whether the worker really agreed. Pure.
 */
import { createHash } from "node:crypto";
import type { Field } from "../http1/fields.ts";
import type { RequestHead, ResponseHead } from "../http1/head.ts";

/** 16 bytes as base64 (RFC 6455 §4.1). */
const WEBSOCKET_KEY = /^[A-Za-z0-9+/]{22}==$/;
/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/**
 * The Sec-WebSocket-Key of a request that may become a tunnel; undefined for a plain request. No other upgrade is forwarded:
 * it would be a way to smuggle requests past the balancer.
 */
export function readWebSocketKey(
  head: Pick<RequestHead, "method" | "minor" | "framing" | "connection" | "fields">,
): string | undefined {
  if (head.method !== "GET" || head.minor !== 1 || hasBody(head)) return undefined;
  if (!head.connection.includes("upgrade")) return undefined;
  if (!namesOnlyWebSocket(head.fields)) return undefined;
  if (onlyValue(head.fields, "sec-websocket-version") !== "13") return undefined;
  const key = onlyValue(head.fields, "sec-websocket-key");
  return key !== undefined && WEBSOCKET_KEY.test(key) ? key : undefined;
}

/** Whether bytes of a body follow. `Content-Length: 0` says that there is none, as its absence does (RFC 9110 §8.6). */
export function hasBody({ framing }: Pick<RequestHead, "framing">): boolean {
  return framing.kind === "chunked" || (framing.kind === "length" && framing.length > 0);
}

/** Whether a 101 is the worker's response to exactly this handshake (RFC 6455 §4.1). */
export function isAccepted(
  head: Pick<ResponseHead, "connection" | "fields">,
  key: string,
): boolean {
  const accept = createHash("sha1")
    .update(key + WEBSOCKET_GUID)
    .digest("base64");
  return (
    onlyValue(head.fields, "sec-websocket-accept") === accept &&
    onlyValue(head.fields, "upgrade")?.toLowerCase() === "websocket" &&
    head.connection.includes("upgrade")
  );
}

/**
 * Whether Upgrade, in one line or several (RFC 9110 §5.3), requests a WebSocket and nothing else: a worker could choose any
 * protocol of a list.
 */
function namesOnlyWebSocket(fields: readonly Field[]): boolean {
  let isNamed = false;
  for (const { lower, value } of fields) {
    if (lower !== "upgrade") continue;
    for (const element of value.split(",")) {
      const protocol = element.trim().toLowerCase();
      if (protocol === "") continue;
      if (protocol !== "websocket") return false;
      isNamed = true;
    }
  }
  return isNamed;
}

/** The value of a field that occurs exactly once. */
function onlyValue(fields: readonly Field[], lower: string): string | undefined {
  let value: string | undefined;
  for (const field of fields) {
    if (field.lower !== lower) continue;
    if (value !== undefined) return undefined;
    value = field.value;
  }
  return value;
}
