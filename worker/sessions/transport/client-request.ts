/**
 * What a client's HTTP request to `/socket.io/` carries: its room token, its public key, and the id of its engine.io
 * connection. A browser cannot add headers to a WebSocket, so a client that begins with one sends them in its CONNECT packet.
 */
import { createPublicKey } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { RoomToken, Tokens } from "../../login/tokens.ts";
import type { Introduction } from "../session-peers.ts";

export interface TokenReader {
  /** See `Sockets.identify`. */
  readonly identify: (req: IncomingMessage) => Promise<RoomToken | undefined>;
  /** The same for a CONNECT packet with this `auth`, which counts if the request has no token header. */
  readonly identifyConnect: (req: IncomingMessage, auth: Auth) => Promise<RoomToken | undefined>;
  /** The token, if `identify` has found it already: for what cannot wait. */
  readonly identified: (req: IncomingMessage) => RoomToken | undefined;
}

/** `auth` of a CONNECT packet: named as the headers, untrusted. */
export type Auth = Readonly<Record<string, unknown>>;

const TOKEN = "x-oct-jwt";
const MAX_KEY_CHARS = 4096;
const MAX_CLIENT_CHARS = 256;
const MAX_COMPRESSIONS = 8;
const MAX_COMPRESSION_CHARS = 32;

export function createTokenReader(tokens: Tokens): TokenReader {
  const reads = new WeakMap<IncomingMessage, Promise<RoomToken | undefined>>();
  const verified = new WeakMap<IncomingMessage, RoomToken>();

  async function verify(req: IncomingMessage): Promise<RoomToken | undefined> {
    return verifyText(req, headerOf(req, TOKEN) ?? cookieOf(req, "oct-jwt"));
  }

  async function verifyText(
    req: IncomingMessage,
    text: string | undefined,
  ): Promise<RoomToken | undefined> {
    const token = text === undefined ? undefined : await tokens.verifyRoom(text);
    if (token !== undefined) verified.set(req, token);
    return token;
  }

  function identify(req: IncomingMessage): Promise<RoomToken | undefined> {
    let read = reads.get(req);
    if (read === undefined) {
      read = verify(req);
      reads.set(req, read);
    }
    return read;
  }

  return {
    identify,
    identifyConnect(req, auth) {
      const text = headerOf(req, TOKEN) === undefined ? textOf(auth, TOKEN) : undefined;
      return text === undefined ? identify(req) : verifyText(req, text);
    },
    identified: (req) => verified.get(req),
  };
}

/** Undefined without a public key, or with one that is too long to be valid. */
export function introductionOf(req: IncomingMessage, auth: Auth): Introduction | undefined {
  const read = (name: string): string | undefined => headerOf(req, name) ?? textOf(auth, name);
  const publicKey = read("x-oct-public-key");
  if (publicKey === undefined || publicKey.length > MAX_KEY_CHARS) return undefined;
  const compression = (read("x-oct-compression") ?? "none")
    .split(",", MAX_COMPRESSIONS)
    .map((name) => name.trim().slice(0, MAX_COMPRESSION_CHARS))
    .filter((name) => name !== "");
  return {
    publicKey,
    client: (read("x-oct-client") ?? "unknown").slice(0, MAX_CLIENT_CHARS),
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

/** The id of the engine.io connection that a request belongs to; undefined for a handshake. */
export function sidOf(req: IncomingMessage): string | undefined {
  const url = req.url ?? "";
  const query = url.indexOf("?");
  if (query === -1) return undefined;
  return new URLSearchParams(url.slice(query + 1)).get("sid") ?? undefined;
}

export function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function textOf(auth: Auth, name: string): string | undefined {
  const value = Object.hasOwn(auth, name) ? auth[name] : undefined;
  return typeof value === "string" && value !== "" ? value : undefined;
}

function cookieOf(req: IncomingMessage, name: string): string | undefined {
  for (const pair of (req.headers.cookie ?? "").split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name) {
      return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
