/**
 * Serves the embedded store to the processes of one machine over a Unix socket: the state, its journal, and who is told
 * what. One process per data directory does so (data-dir.ts).
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
import { openJournal, readJournal } from "./journal.ts";
import { createStoreState, type StoreState } from "./state/state.ts";
import { readTime, type StoreTime } from "./state/time.ts";
import { MAX_REQUEST_BYTES, parseRequest, type Reply, type Request, toLine } from "./wire.ts";

export { DataDirError, StoreInUseError } from "./data-dir.ts";

export interface StoreServer {
  /** Absolute; give it to `connectEmbeddedStore`. */
  readonly socketPath: string;
  /** Ends all connections, syncs the journal and removes the socket. Later calls do nothing. Never rejects. */
  close(): Promise<void>;
}

interface Needs {
  /** Made when it is missing, with mode 0700. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count">;
}

const JOURNAL_NAME = "store.journal";
const SWEEP_PERIOD_MS = 500;
/** Far more processes than one machine runs. */
const MAX_CONNECTIONS = 1024;
/** A client that has not read this much of what it was sent is cut off; the largest answers have some megabytes. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;

/**
 * Starts the store of `dataDir` with what its journal remembers. Throws `DataDirError` when the directory cannot be used
 * and `StoreInUseError` when another store uses it.
 */
export function startStoreServer(needs: Needs): Promise<StoreServer> {
  return claim(needs, openStore);
}

/** Claims `dataDir` as a store does, for an edge whose store is elsewhere: one edge at a time uses a data directory. */
export function holdDataDir(needs: Needs): Promise<StoreServer> {
  return claim(needs, () => ({ serve: (socket) => void socket.destroy(), close() {} }));
}

async function claim(needs: Needs, open: typeof openStore): Promise<StoreServer> {
  const dataDir = prepareDataDir(needs.dataDir);
  const clients = new Set<net.Socket>();
  let serve: ((socket: net.Socket) => void) | undefined;
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    clients.add(socket);
    socket.on("close", () => clients.delete(socket));
    // Before the start and after the end only those come who look whether somebody listens.
    if (serve === undefined) socket.destroy();
    else serve(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;

  let socketPath: string | undefined;
  try {
    socketPath = await listenPrivately(server, dataDir);
    server.on("error", (error) => needs.log.error({ err: error }, "store socket failed"));
    await claimDataDir(dataDir, socketPath);
    const part = open(needs, dataDir, clients);
    serve = part.serve;
    return {
      socketPath,
      close: onlyOnce(async () => {
        serve = undefined;
        for (const client of clients) client.destroy();
        part.close();
        // Last, because who finds nobody listening may start at once and read the journal.
        await stopListening(server, socketPath);
      }),
    };
  } catch (error) {
    await stopListening(server, socketPath);
    throw error instanceof EdgeError ? error : new DataDirError(needs.dataDir, error);
  }
}

async function stopListening(server: net.Server, socketPath: string | undefined): Promise<void> {
  if (server.listening) await new Promise((resolve) => server.close(resolve));
  try {
    if (socketPath !== undefined) removeSocket(socketPath);
  } catch {
    // The next start removes it.
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

interface OpenStore {
  readonly serve: (socket: net.Socket) => void;
  readonly close: () => void;
}

function openStore(needs: Needs, dataDir: string, clients: ReadonlySet<net.Socket>): OpenStore {
  const { clock } = needs;
  const state = createStoreState(readTime(clock));
  const file = path.join(dataDir, JOURNAL_NAME);
  state.restore(readJournal({ ...needs, file, parse: parseRecord }).values());
  const journal = openJournal({ ...needs, file, entries: state.entries });
  const feed = createFeed(clients);

  /** Writes down and tells what was changed. */
  function settle(): void {
    const { writes, changes } = state.takeEffects();
    if (writes.length > 0) journal.append(writes);
    if (changes.length > 0) feed.publish(changes);
  }

  const sweeps = clock.every(SWEEP_PERIOD_MS, () => {
    state.sweep(readTime(clock));
    settle();
  });

  return {
    serve(socket) {
      serveClient(socket, (request) => {
        const value = runOperation(state, readTime(clock), request);
        settle();
        return value;
      });
    },
    close() {
      sweeps.cancel();
      feed.close();
      journal.close();
    },
  };
}

/** The operation that `request` names, with arguments that its schema has checked. */
function runOperation(state: StoreState, now: StoreTime, request: Request): unknown {
  const operation = state.operations[request.op] as (
    now: StoreTime,
    ...args: readonly unknown[]
  ) => unknown;
  return operation(now, ...request.args);
}

// --- connections ---

/** Answers the requests of one client, in their order. `run` gives the value of each. */
function serveClient(socket: net.Socket, run: (request: Request) => unknown): void {
  let answers = "";

  function answer(line: Buffer): boolean {
    const request = parseRequest(line);
    if (request === undefined) return false;
    answers += toLine(
      "refused" in request
        ? { id: request.id, error: request.refused }
        : { id: request.id, value: run(request) },
    );
    return answers.length <= MAX_UNREAD_BYTES;
  }

  const reader = createLineReader(MAX_REQUEST_BYTES, answer);
  socket.on("data", (chunk) => {
    const isSane = reader.push(chunk);
    // One write for all answers to what came together.
    if (answers !== "") send(socket, answers);
    answers = "";
    // Garbage, a line without end, or more questions than anybody can read answers to.
    if (!isSane) socket.destroy();
  });
}

/** Writes to a client, and cuts it off when it has stopped reading. */
function send(socket: net.Socket, text: string): void {
  socket.write(text);
  if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
}

/** Tells all clients what changed; what changes in one go is told together, and once. */
function createFeed(clients: ReadonlySet<net.Socket>) {
  const waiting = new Map<string, Change>();
  let scheduled: NodeJS.Immediate | undefined;

  function flush(): void {
    scheduled = undefined;
    const reply: Reply = { changes: [...waiting.values()] };
    waiting.clear();
    const line = toLine(reply);
    for (const client of clients) send(client, line);
  }

  return {
    publish(changes: readonly Change[]): void {
      for (const change of changes) waiting.set(JSON.stringify(change), change);
      scheduled ??= setImmediate(flush);
    },
    close(): void {
      clearImmediate(scheduled);
    },
  };
}
