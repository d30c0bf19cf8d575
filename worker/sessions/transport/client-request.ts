/**
 * What a client says about itself when it connects to `/socket.io/`: its room token, its public key, its name. By headers of
 * the handshake, or, because a WebSocket of a browser has none of its own, in the payload of socket.io's CONNECT (`auth`
 * of its client), under the same names. Never in the query, which logs and proxies see.
 */
import { createPublicKey } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "socket.io";
import { getOrAdd } from "../../../shared/base/grouping.ts";
import { isSessionId, type SessionId } from "../../../shared/base/ids.ts";
import { readCookie } from "../../../shared/net/cookies.ts";
import { KEY_HEADER } from "../../../shared/net/edge-headers.ts";
import type { RoomToken, Tokens } from "../../login/tokens.ts";
import type { Introduction } from "../admission.ts";

export type TokenReader = ReturnType<typeof createTokenReader>;

/** `handshake.auth` is the payload of the CONNECT, any JSON object. */
export type ConnectingSocket = Pick<Socket, "request" | "handshake">;

const MAX_KEY_CHARS = 4096;
const MAX_CLIENT_CHARS = 256;
const MAX_COMPRESSIONS = 8;
const MAX_COMPRESSION_CHARS = 32;

export function createTokenReader(tokens: Pick<Tokens, "verifyRoom">) {
  const reads = new WeakMap<IncomingMessage, Promise<RoomToken | undefined>>();
  const verified = new WeakMap<IncomingMessage, RoomToken>();

  async function verify(req: IncomingMessage): Promise<RoomToken | undefined> {
    const text = headerOf(req, "x-oct-jwt") ?? readCookie(req.headers.cookie, "oct-jwt");
    const token = text === undefined ? undefined : await tokens.verifyRoom(text);
    if (token !== undefined) verified.set(req, token);
    return token;
  }

  /** The valid room token in a request: header `x-oct-jwt`, else cookie `oct-jwt`. Verified once per request object. */
  function identify(req: IncomingMessage): Promise<RoomToken | undefined> {
    return getOrAdd(reads, req, () => verify(req));
  }

  return {
    identify,
    /** The token, if `identify` has found it already: for what cannot wait. */
    identified: (req: IncomingMessage) => verified.get(req),
    /** The valid room token of a client that sends CONNECT: of the header, else of the payload, else of the cookie. */
    identifyClient({ request, handshake }: ConnectingSocket): Promise<RoomToken | undefined> {
      const text = payloadOf(handshake.auth, "x-oct-jwt");
      return text === undefined || headerOf(request, "x-oct-jwt") !== undefined
        ? identify(request)
        : tokens.verifyRoom(text);
    },
  };
}

/**
 * The session that balancers routed a request by, when its key is the id of one. It proves nothing, but it leads a client
 * whose token is not known before its CONNECT to the right worker.
 */
export function routedSession(req: IncomingMessage): SessionId | undefined {
  const key = headerOf(req, KEY_HEADER);
  return key !== undefined && isSessionId(key) ? key : undefined;
}

/** Undefined without a public key, or with one that is too long to be valid. */
export function introductionOf({ request, handshake }: ConnectingSocket): Introduction | undefined {
  const fieldOf = (name: string): string | undefined =>
    headerOf(request, name) ?? payloadOf(handshake.auth, name);
  const publicKey = fieldOf("x-oct-public-key");
  if (publicKey === undefined || publicKey.length > MAX_KEY_CHARS) return undefined;
  const compression = (fieldOf("x-oct-compression") ?? "none")
    .split(",", MAX_COMPRESSIONS)
    .map((name) => name.trim().slice(0, MAX_COMPRESSION_CHARS))
    .filter((name) => name !== "");
  return {
    publicKey,
    client: (fieldOf("x-oct-client") ?? "unknown").slice(0, MAX_CLIENT_CHARS),
    compression: compression.length > 0 ? compression : ["none"],
  };
}

/** With an invalid key other peers would fail to encrypt for this one, and so for all. */
export function isPublicKey(text: string): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(text, "base64"), format: "der", type: "spki" });
    return key.asymmetricKeyType === "rsa";
  } catch {
    return false;
  }
}

/** The id of the engine.io connection that a request belongs to; undefined for a handshake, also for one with an empty `sid`. */
export function sidOf(req: IncomingMessage): string | undefined {
  const url = req.url ?? "";
  const query = url.indexOf("?");
  if (query === -1) return undefined;
  return new URLSearchParams(url.slice(query + 1)).get("sid") || undefined;
}

export function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function payloadOf(payload: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = payload[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}
