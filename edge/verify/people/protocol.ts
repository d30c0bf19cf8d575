/**
 * The protocol package, as clients use it, with two differences: certificates are not checked here, because they are judged
 * elsewhere, and all connections share one key pair, because generating one takes seconds.
 */
import { webcrypto } from "node:crypto";
import {
  ConnectionProvider,
  Emitter,
  type FetchRequestOptions,
  type FetchResponse,
  initializeProtocol,
  type MessageTransport,
  VERSION,
} from "open-collaboration-protocol";
import { io, type Socket } from "socket.io-client";
import type { Failed } from "../model/observations.ts";
import type { HttpProbe } from "../probes/http.ts";

export type TransportNames = readonly ("polling" | "websocket")[];

/** A connection to a session, as its transport sees it. */
export interface Watched {
  readonly socket: Socket;
  /** What the transport or the server has said about failures, the newest last; untrusted. */
  readonly failures: readonly string[];
}

let pair: Promise<webcrypto.CryptoKeyPair> | undefined;

/** Begins to generate the key pair, on another thread. */
export function prepareKeys(): void {
  pair ??= webcrypto.subtle.generateKey(
    {
      name: "RSA-OAEP",
      modulusLength: 4096,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["encrypt", "decrypt"],
  );
  // It is awaited later, or, after an interruption, never.
  pair.catch(() => {});
}

function initialize(): void {
  prepareKeys();
  const subtle = new Proxy(webcrypto.subtle, {
    get(target, name) {
      if (name === "generateKey") return generateKey;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  type CryptoModule = Parameters<typeof initializeProtocol>[0]["cryptoModule"];
  initializeProtocol({ cryptoModule: { subtle } as unknown as CryptoModule });
}

function generateKey(
  algorithm: { readonly name: string },
  ...rest: [boolean, webcrypto.KeyUsage[]]
): Promise<webcrypto.CryptoKeyPair | webcrypto.CryptoKey> {
  if (algorithm.name === "RSA-OAEP" && pair !== undefined) return pair;
  return webcrypto.subtle.generateKey(algorithm as webcrypto.AesKeyGenParams, ...rest);
}

export const PROTOCOL_VERSION = VERSION;
export const CLIENT = "ct-edge verify";
/** As the package's own transport: a connection that does not come about in this time has failed. */
export const CONNECT_TIMEOUT_MS = 12_000;

export function createProvider(options: {
  readonly http: HttpProbe;
  readonly baseUrl: string;
  readonly transports: TransportNames;
  readonly userToken: string | undefined;
  readonly onTransport: (watched: Watched) => void;
  /** Sends the form of a sign-in; false: there is no way. */
  readonly signIn: (token: string, providers: unknown) => Promise<boolean>;
}): ConnectionProvider {
  initialize();
  const { userToken } = options;
  return new ConnectionProvider({
    url: options.baseUrl,
    client: CLIENT,
    ...(userToken !== undefined && { userToken }),
    fetch: createFetch(options.http),
    authenticationHandler: (token, { providers }) => options.signIn(token, providers),
    transports: [
      {
        id: "socket.io",
        createTransport: (url, headers) => createTransport(url, headers, options),
      },
    ],
  });
}

/** A poll that waits for a host is silent for 30 s. */
const POLL_TIMEOUT_MS = 40_000;
/** A server that ends polls at once would keep the package busy without end. */
const MAX_POLLS = 40;
const POLL_PAUSE_MS = 100;

function createFetch(http: HttpProbe) {
  let polls = 0;
  return async (url: string, request?: FetchRequestOptions): Promise<FetchResponse> => {
    if (url.includes("/poll/") && polls++ > 0) {
      if (polls > MAX_POLLS) throw new Error("the server ends polls without an answer");
      await new Promise((resolve) => setTimeout(resolve, POLL_PAUSE_MS));
    }
    return sendRequest(http, url, request);
  };
}

/** Reads only the beginning of a response: what responds may not be an edge. */
async function sendRequest(
  http: HttpProbe,
  url: string,
  { method, headers, signal }: FetchRequestOptions = {},
): Promise<FetchResponse> {
  const answer = await http.send(url, {
    method: method === "POST" ? "POST" : "GET",
    ...(headers !== undefined && { headers }),
    ...(signal && { signal }),
    timeoutMs: POLL_TIMEOUT_MS,
  });
  if (answer.outcome === "failed") throw new Error(messageOf(answer));
  return {
    status: answer.status,
    ok: answer.status >= 200 && answer.status < 300,
    json: async () => JSON.parse(answer.body) as unknown,
    text: async () => answer.body,
  };
}

function messageOf({ reason, detail }: Failed): string {
  if (reason === "timeout") return "no answer in time";
  return reason === "interrupted" ? "interrupted" : detail;
}

function createTransport(
  baseUrl: string,
  headers: Record<string, string>,
  options: {
    readonly transports: TransportNames;
    readonly onTransport: (watched: Watched) => void;
  },
): MessageTransport {
  const { pathname } = new URL(baseUrl);
  const socket = io(baseUrl, {
    path: `${pathname.replace(/\/$/, "")}/socket.io`,
    transports: [...options.transports],
    extraHeaders: headers,
    rejectUnauthorized: false,
    forceNew: true,
  });
  const failures: string[] = [];
  const reconnected = new Emitter<void>();
  const disconnected = new Emitter<void>();
  const failed = new Emitter<string>();
  socket.on("connect_error", (error) => failures.push(describe(error)));
  socket.on("disconnect", (reason, details) => {
    failures.push(details instanceof Error ? describe(details) : reason);
  });
  socket.io.on("reconnect", () => reconnected.fire());
  options.onTransport({ socket, failures });
  return {
    id: "socket.io",
    onReconnect: reconnected.event,
    onDisconnect: disconnected.event,
    onError: failed.event,
    async write(data) {
      socket.send(data);
    },
    read(callback) {
      socket.on("message", (data: ArrayBuffer | Uint8Array) => callback(new Uint8Array(data)));
    },
    dispose() {
      disconnected.dispose();
      socket.close();
    },
  };
}

/** engine.io's transports put the status, or what else happened, into `description`. */
function describe(error: Error): string {
  const { description } = error as { readonly description?: unknown };
  if (typeof description === "number") return `${error.message}, status ${description}`;
  if (description instanceof Error) return `${error.message}, ${description.message}`;
  return error.message;
}
