/**
 * A guest's files: those of the host. Everything that a host says is checked; it may be another program, broken, or hostile.
 */
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { fieldsOf } from "../../../../shared/base/json.ts";
import {
  createChangeListeners,
  type Entry,
  type FileChange,
  FileError,
  type FileInfo,
  type Files,
} from "../model/files.ts";
import { isSafeName, nameOf, partsOf, sortEntries } from "./paths.ts";
import { changeOf, errorFromHost, kindOf, MAX_CONTENT_BYTES } from "./wire.ts";

/** More names than a person looks through; a list of them must not stop the page. */
const MAX_ENTRIES = 50_000;
const MAX_CHANGES = 5_000;

/**
 * Requests end after the server's limit of 30 s, after the package's 60 s, or at once when the connection is given up. While the
 * connection is interrupted they wait for it. Registers the connection's only handler of changes, so there is one per connection.
 */
export function createRemoteFiles(connection: ProtocolBroadcastConnection, hostId: string): Files {
  const listeners = createChangeListeners();
  const untilLost = createLossGuard(connection);

  connection.fs.onChange((origin, event: unknown) => {
    if (origin !== hostId) return;
    for (const { path, change } of readChanges(event)) {
      listeners.notify(path, change);
    }
  });

  /** Checks the path, waits for the response, and gives errors their plain words. */
  async function ask<T>(
    path: string,
    request: () => Promise<unknown>,
    read: (response: unknown) => T,
  ): Promise<T> {
    partsOf(path);
    try {
      return read(await untilLost(request()));
    } catch (error) {
      throw errorFromHost(error, nameOf(path));
    }
  }

  const { fs } = connection;
  return {
    list: (folder) => ask(folder, () => fs.readdir(hostId, folder), readEntries),
    info: (path) => ask(path, () => fs.stat(hostId, path), readInfo),
    read: (path) => ask(path, () => fs.readFile(hostId, path), readContent),
    async write(path, content) {
      if (content.length > MAX_CONTENT_BYTES) {
        throw new FileError("too-large", `“${nameOf(path)}” is too large to send to the host.`);
      }
      await ask(path, () => fs.writeFile(hostId, path, { content }), ignore);
    },
    makeFolder: (path) => ask(path, () => fs.mkdir(hostId, path), ignore),
    remove: (path) => ask(path, () => fs.delete(hostId, path), ignore),
    async rename(from, to) {
      partsOf(to);
      await ask(from, () => fs.rename(hostId, from, to), ignore);
    },
    watch: listeners.add,
  };
}

/**
 * Returns a function that rejects when the connection is given up before its promise is settled: the package leaves open
 * requests to their time limit then. (`Promise.race` with one lasting promise would keep all responses in memory.)
 */
function createLossGuard(
  connection: ProtocolBroadcastConnection,
): (response: Promise<unknown>) => Promise<unknown> {
  const waiting = new Set<(error: FileError) => void>();
  let loss: FileError | undefined;
  connection.onDisconnect(() => {
    loss = new FileError("unreachable", "The connection to the session has ended.");
    for (const reject of waiting) reject(loss);
    waiting.clear();
  });
  return (response) =>
    new Promise((resolve, reject) => {
      if (loss !== undefined) reject(loss);
      waiting.add(reject);
      response.then(resolve, reject).finally(() => waiting.delete(reject));
    });
}

// --- responses ---

function readEntries(response: unknown): readonly Entry[] {
  const entries = Object.entries(objectOf(response))
    .slice(0, MAX_ENTRIES)
    .filter(([name]) => isSafeName(name))
    .map(([name, type]): Entry => ({ name, kind: kindOf(type) }));
  return sortEntries(entries);
}

function readInfo(response: unknown): FileInfo {
  const { type, size, mtime } = objectOf(response);
  return { kind: kindOf(type), bytes: amountOf(size), modifiedMs: amountOf(mtime) };
}

/** What came counts, whatever `stat` said before. */
function readContent(response: unknown): Uint8Array {
  const { content } = objectOf(response);
  if (content instanceof Uint8Array) return content;
  throw new Error("the response holds no bytes");
}

function readChanges(
  event: unknown,
): readonly { readonly path: string; readonly change: FileChange }[] {
  const { changes } = fieldsOf(event);
  if (!Array.isArray(changes)) return [];
  return changes.slice(0, MAX_CHANGES).flatMap((item: unknown) => {
    const { path, type } = fieldsOf(item);
    const change = changeOf(type);
    if (typeof path !== "string" || !path.split("/").every(isSafeName)) return [];
    return change === undefined ? [] : [{ path, change }];
  });
}

function objectOf(response: unknown): Readonly<Record<string, unknown>> {
  if (typeof response === "object" && response !== null && !Array.isArray(response)) {
    return response as Readonly<Record<string, unknown>>;
  }
  throw new Error("the response has the wrong type");
}

function amountOf(value: unknown): number {
  const amount = typeof value === "bigint" ? Number(value) : value;
  return typeof amount === "number" && Number.isFinite(amount) && amount > 0 ? amount : 0;
}

function ignore(): void {}
