/**
 * The server of the embedded store: serves the state over a Unix socket to the processes of one machine, journals changes,
 * and notifies clients. One process per data directory (data-dir.ts).
 */
import net from "node:net";
import path from "node:path";
import type { Clock } from "../../base/clock.ts";
import { EdgeError } from "../../base/errors.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import type { Change } from "../store.ts";
import {
  claimDataDir,
  DataDirError,
  listenPrivately,
  prepareDataDir,
  removeSocket,
} from "./data-dir.ts";
import { createLineReader } from "./format/lines.ts";
import { parseRecord } from "./format/records.ts";
import { openJournal, readJournal } from "./journal/journal.ts";
import { readTime, type StoreTime } from "./state/operations.ts";
import { createStoreState, type StoreState } from "./state/state.ts";
import { MAX_REQUEST_BYTES, parseRequest, type Reply, type Request, toLine } from "./wire.ts";

export { DataDirError, StoreInUseError } from "./data-dir.ts";

export interface StoreServer {
  /** Absolute; for `connectEmbeddedStore`. */
  readonly socketPath: string;
  /** Closes all connections, syncs the journal and removes the socket. Idempotent. Never rejects. */
  close(): Promise<void>;
}

interface Deps {
  /** Created if missing, with mode 0700. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count">;
}

const JOURNAL_NAME = "store.journal";
const SWEEP_PERIOD_MS = 500;
/** Far more processes than one machine runs. */
const MAX_CONNECTIONS = 1024;
/** A client with this many unread bytes is disconnected; the largest responses have some megabytes. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;

/**
 * Starts the store of `dataDir` with the records of its journal. Throws `DataDirError` when the directory cannot be used,
 * and `StoreInUseError` when another store uses it.
 */
export function startStoreServer(deps: Deps): Promise<StoreServer> {
  return claim(deps, openStore);
}

/** Claims `dataDir` for an edge whose store is elsewhere: one edge at a time uses a data directory. */
export function holdDataDir(deps: Deps): Promise<StoreServer> {
  return claim(deps, () => ({ serve: (socket) => void socket.destroy(), close() {} }));
}

async function claim(deps: Deps, open: typeof openStore): Promise<StoreServer> {
  const dataDir = prepareDataDir(deps.dataDir);
  const clients = new Set<net.Socket>();
  let serve: ((socket: net.Socket) => void) | undefined;
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    clients.add(socket);
    socket.on("close", () => clients.delete(socket));
    // Before the start and after the shutdown, connections only check the claim.
    if (serve === undefined) socket.destroy();
    else serve(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;

  let socketPath: string | undefined;
  try {
    socketPath = await listenPrivately(server, dataDir);
    server.on("error", (error) => deps.log.error({ err: error }, "store socket failed"));
    await claimDataDir(dataDir, socketPath);
    const part = open(deps, dataDir, clients);
    serve = part.serve;
    return {
      socketPath,
      close: onlyOnce(async () => {
        serve = undefined;
        for (const client of clients) client.destroy();
        part.close();
        // Last: once the socket is closed, another store may start and read the journal.
        await stopListening(server, socketPath);
      }),
    };
  } catch (error) {
    await stopListening(server, socketPath);
    throw error instanceof EdgeError ? error : new DataDirError(deps.dataDir, error);
  }
}

async function stopListening(server: net.Server, socketPath: string | undefined): Promise<void> {
  if (server.listening) await new Promise((resolve) => server.close(resolve));
  try {
    if (socketPath !== undefined) removeSocket(socketPath);
  } catch {
    // The next start removes the socket.
  }
}

function onlyOnce(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= action();
    return done;
  };
}

// --- the store behind the socket ---

function openStore(deps: Deps, dataDir: string, clients: ReadonlySet<net.Socket>) {
  const { clock } = deps;
  const state = createStoreState(readTime(clock));
  const file = path.join(dataDir, JOURNAL_NAME);
  state.restore(readJournal({ ...deps, file, parse: parseRecord }).values());
  const journal = openJournal({ ...deps, file, entries: state.entries });
  const feed = createFeed(clients);

  /** Journals the changes and notifies clients. */
  function commit(): void {
    const { writes, changes } = state.takeEffects();
    if (writes.length > 0) journal.append(writes);
    if (changes.length > 0) feed.publish(changes);
  }

  const sweeps = clock.every(SWEEP_PERIOD_MS, () => {
    state.sweep(readTime(clock));
    commit();
  });

  return {
    serve: (socket: net.Socket): void => {
      serveClient(socket, (request) => {
        const value = runOperation(state, readTime(clock), request);
        commit();
        return value;
      });
    },
    close(): void {
      sweeps.cancel();
      feed.close();
      journal.close();
    },
  };
}

/** `parseRequest` has validated the arguments. */
function runOperation(state: StoreState, now: StoreTime, request: Request): unknown {
  const operation = state.operations[request.op] as (
    now: StoreTime,
    ...args: readonly unknown[]
  ) => unknown;
  return operation(now, ...request.args);
}

// --- connections ---

/** Responds to the requests of one client, in order. */
function serveClient(socket: net.Socket, run: (request: Request) => unknown): void {
  let replies = "";

  function handleLine(line: Buffer): boolean {
    const request = parseRequest(line);
    if (request === undefined) return false;
    replies += toLine(
      "refused" in request
        ? { id: request.id, error: request.refused }
        : { id: request.id, value: request.toReply(run(request)) },
    );
    return replies.length <= MAX_UNREAD_BYTES;
  }

  const reader = createLineReader(MAX_REQUEST_BYTES, handleLine);
  socket.on("data", (chunk) => {
    const isValid = reader.push(chunk);
    // One write for all replies to one chunk.
    if (replies !== "") send(socket, replies);
    replies = "";
    // An invalid line, an endless one, or more replies than the client reads.
    if (!isValid) socket.destroy();
  });
}

/** Writes to a client, and disconnects one that has stopped reading. */
function send(socket: net.Socket, text: string): void {
  socket.write(text);
  if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
}

/** Sends changes to all clients: those of one turn together, and each once. */
function createFeed(clients: ReadonlySet<net.Socket>) {
  const pending = new Map<string, Change>();
  let scheduled: NodeJS.Immediate | undefined;

  function flush(): void {
    scheduled = undefined;
    const reply: Reply = { changes: [...pending.values()] };
    pending.clear();
    const line = toLine(reply);
    for (const client of clients) send(client, line);
  }

  return {
    publish(changes: readonly Change[]): void {
      for (const change of changes) pending.set(JSON.stringify(change), change);
      scheduled ??= setImmediate(flush);
    },
    close(): void {
      clearImmediate(scheduled);
    },
  };
}
