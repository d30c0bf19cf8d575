/**
 * Opens sockets to Redis: to a server, a Unix socket, or the primary that Sentinels name; with TLS or without.
 *
 * The connectors of ioredis listen for one error of a socket only. A TLS socket can emit a second one (our end rejects the
 * certificate, then the peer reports an error), which would end the process; so every socket here keeps a listener.
 */
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { AbstractConnector, Redis, type RedisOptions } from "ioredis";
import { describeError } from "../../../base/errors.ts";
import type { RedisTarget } from "./target.ts";

/** How long a dropped connection may take to close: a stopped Redis never does. */
export const DISCONNECT_TIMEOUT_MS = 100;
/** For each step with a Sentinel: an unreachable one must not delay the next one much. */
const SENTINEL_TIMEOUT_MS = 1000;

type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** A connector for ioredis. Without `ca` the system's CAs count. */
export function connectorTo(
  target: RedisTarget,
  ca: string | undefined,
): NonNullable<RedisOptions["Connector"]> {
  const open = createOpener(target.tls, ca);
  return connectorOf(createLocator(target, open), open);
}

/** The message gives the result of each Sentinel. */
class NoPrimaryError extends Error {
  constructor(results: readonly string[]) {
    super(`no Sentinel names the primary: ${results.join("; ")}`);
  }
}

type Opener = (address: Address) => Socket;

function connectorOf(
  locate: () => Promise<Address>,
  open: Opener,
): NonNullable<RedisOptions["Connector"]> {
  return class extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS);
    }

    override async connect(): Promise<Socket> {
      this.connecting = true;
      const address = await locate();
      if (!this.connecting) throw new Error("Connection is closed.");
      const socket = open(address);
      socket.on("error", (error) => {
        this.firstError = error;
      });
      this.stream = socket;
      return socket;
    }
  };
}

function createOpener(tls: boolean, ca: string | undefined): Opener {
  return (address) =>
    tls ? connectTls({ ...address, ...(ca !== undefined && { ca }) }) : connectPlain(address);
}

// --- locating the server ---

function createLocator({ at }: RedisTarget, open: Opener): () => Promise<Address> {
  switch (at.kind) {
    case "server":
      return async () => ({ host: at.host, port: at.port });
    case "socket":
      return async () => ({ path: at.path });
    case "sentinels":
      return () => querySentinels(at, open);
  }
}

type Sentinels = Extract<RedisTarget["at"], { kind: "sentinels" }>;

/** Queries one Sentinel after the other. Rejects with `NoPrimaryError`. */
async function querySentinels(at: Sentinels, open: Opener): Promise<Address> {
  const results: string[] = [];
  for (const sentinel of at.sentinels) {
    try {
      const address = toAddress(await querySentinel(at, sentinel, open));
      if (address !== undefined) return address;
      results.push(`${sentinel.host}:${sentinel.port} does not know ${at.primary}`);
    } catch (error) {
      results.push(`${sentinel.host}:${sentinel.port} ${describeError(error)}`);
    }
  }
  throw new NoPrimaryError(results);
}

async function querySentinel(at: Sentinels, sentinel: Address, open: Opener): Promise<unknown> {
  const options: RedisOptions & { replyMapping: "legacy" } = {
    Connector: connectorOf(async () => sentinel, open),
    username: at.login.user,
    password: at.login.password,
    lazyConnect: true,
    retryStrategy: null,
    connectTimeout: SENTINEL_TIMEOUT_MS,
    commandTimeout: SENTINEL_TIMEOUT_MS,
    enableReadyCheck: false,
    disableClientInfo: true,
    replyMapping: "legacy",
  };
  const redis = new Redis(options);
  let firstError: Error | undefined;
  redis.on("error", (error: Error) => {
    firstError ??= error;
  });
  try {
    return await redis.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", at.primary);
  } catch (error) {
    // The error of the command only says that the connection ended.
    throw firstError ?? error;
  } finally {
    redis.disconnect();
  }
}

function toAddress(reply: unknown): Address | undefined {
  const [host, port] = Array.isArray(reply) ? (reply as unknown[]) : [];
  const number = Number(port);
  const isAddress = typeof host === "string" && host !== "" && number >= 1 && number <= 65_535;
  return isAddress ? { host, port: number } : undefined;
}
