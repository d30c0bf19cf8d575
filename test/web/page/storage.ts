/** Runs in a page: the database of the client, and what a browser may do to it. */
import {
  createScratchFiles,
  createScratchWorkspace,
} from "../../../worker/web/client/files/scratch-files.ts";
import type { FileError } from "../../../worker/web/client/model/files.ts";
import { type Database, openDatabase } from "../../../worker/web/client/storage/database.ts";
import type { SessionRecord } from "../../../worker/web/client/storage/session-store.ts";

const HOUR_MS = 3_600_000;

/** Keeps a session with a key and a folder; returns a signature of the key's other half to check after a reload. */
export async function rememberSession(name: string): Promise<void> {
  const database = await openDatabase({ name });
  await database.sessions.put(await sessionOf("room1"));
  database.updates.append("room1", Uint8Array.of(1, 2));
  await database.updates.flush();
  await database.users.put("https://edge/k/ABC", { name: "Ada", token: "jwt" });
  database.close();
}

export async function recallSession(name: string) {
  const database = await openDatabase({ name });
  const session = await database.sessions.get("room1");
  if (session === undefined) return undefined;
  const { keys, workspace, ...rest } = session;
  const data = Uint8Array.of(7, 8, 9);
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const signature = await crypto.subtle.sign(algorithm, keys.privateKey, data);
  const result = {
    ...rest,
    folder: workspace.kind === "folder" ? workspace.handle.name : undefined,
    isKeyUsable: await crypto.subtle.verify(algorithm, keys.publicKey, signature, data),
    isKeyExtractable: keys.privateKey.extractable,
    updates: (await database.updates.load("room1")).map((update) => [...update]),
    user: await database.users.get("https://edge/k/ABC"),
    otherUser: await database.users.get("https://edge"),
    isForgetful: database.isForgetful.value,
  };
  database.close();
  return result;
}

export async function ageSessions(name: string) {
  const now = Date.now();
  const before = await openDatabase({ name, now: () => now });
  await before.sessions.put(await sessionOf("old", now - 23 * HOUR_MS));
  await before.sessions.put(await sessionOf("new", now));
  for (const room of ["old", "new", "orphan"]) before.updates.append(room, Uint8Array.of(1));
  await before.updates.flush();
  await before.scratch.touch("workspace");
  const first = (await before.sessions.list()).map(({ roomId }) => roomId);
  before.close();
  const after = await openDatabase({ name, now: () => now + 2 * HOUR_MS });
  const second = (await after.sessions.list()).map(({ roomId }) => roomId);
  const updates = await counts(after, "old", "new", "orphan");
  after.close();
  const muchLater = await openDatabase({ name, now: () => now + 31 * 24 * HOUR_MS });
  const workspaces = await muchLater.scratch.list();
  muchLater.close();
  return { first, second, updates, workspaces };
}

export async function deleteSession(name: string) {
  const database = await openDatabase({ name });
  await database.sessions.put(await sessionOf("room1"));
  database.updates.append("room1", Uint8Array.of(1));
  database.updates.append("room2", Uint8Array.of(2));
  await database.updates.flush();
  await database.sessions.delete("room1");
  const session = await database.sessions.get("room1");
  const updates = await counts(database, "room1", "room2");
  database.close();
  return { session, updates };
}

/** Two connections, as two tabs have them. */
export async function compactBesideAnotherTab(name: string) {
  const one = await openDatabase({ name });
  const two = await openDatabase({ name });
  one.updates.append("room", Uint8Array.of(1));
  await one.updates.flush();
  const seenByTwo = (await two.updates.load("room")).length;
  one.updates.append("room", Uint8Array.of(2));
  two.updates.append("room", Uint8Array.of(3));
  await Promise.all([one.updates.flush(), two.updates.flush()]);
  await one.updates.compact("room", Uint8Array.of(12));
  await two.updates.compact("room", Uint8Array.of(13));
  const left = (await one.updates.load("room")).map(([first = 0]) => first).sort((a, b) => a - b);
  const count = one.updates.count("room");
  one.close();
  two.close();
  return { seenByTwo, left, count };
}

export async function manyUpdates(name: string) {
  const database = await openDatabase({ name });
  const started = performance.now();
  for (let index = 0; index < 2_000; index++) database.updates.append("room", Uint8Array.of(index));
  const appendMs = performance.now() - started;
  await database.updates.flush();
  const loaded = (await database.updates.load("room")).length;
  database.close();
  return { appendMs, loaded };
}

// --- what a browser may do ---

export async function workWithoutStorage() {
  const restore = replace(globalThis, "indexedDB", {
    get() {
      throw new DOMException("denied", "SecurityError");
    },
  });
  try {
    return await exercise(await openDatabase({ name: "denied" }));
  } finally {
    restore();
  }
}

/** As browsers do whose storage is damaged. */
export async function workWithStorageThatNeverOpens() {
  replace(IDBFactory.prototype, "open", { value: () => new EventTarget() });
  return exercise(await openDatabase({ name: "hanging" }));
}

export async function workBesideANewerVersion(name: string) {
  const newer = await openRaw(name, 99);
  newer.close();
  return exercise(await openDatabase({ name }));
}

/** Another tab deletes or upgrades the database: the browser asks this page to close it. */
export async function workAfterBeingClosed(name: string) {
  const database = await openDatabase({ name });
  await database.sessions.put(await sessionOf("before"));
  await new Promise<void>((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error ?? new Error("not deleted"));
  });
  return exercise(database);
}

export async function workWhenFull(name: string) {
  const database = await openDatabase({ name });
  const id = await createScratchWorkspace(database);
  const files = createScratchFiles(database, id);
  const restore = replace(IDBObjectStore.prototype, "put", {
    value() {
      throw new DOMException("full", "QuotaExceededError");
    },
  });
  await database.sessions.put(await sessionOf("room"));
  database.updates.append("room", Uint8Array.of(1));
  await database.updates.flush();
  const problem = database.problem.value;
  const save = await files.write("scratch/hello.js", Uint8Array.of(1)).catch(String);
  const reason = await reasonOf(files.write("scratch/hello.js", Uint8Array.of(1)));
  const whileFull = (await database.updates.load("room")).length;
  restore();
  database.updates.append("room", Uint8Array.of(2));
  await database.updates.flush();
  const after = (await database.updates.load("room")).map(([first]) => first);
  const text = (await files.read("scratch/hello.js")).length > 1;
  const result = {
    problem,
    save,
    reason,
    whileFull,
    after,
    isForgetful: database.isForgetful.value,
    text,
  };
  files.close();
  database.close();
  return result;
}

export async function storeAValueThatCannotBeStored(name: string) {
  const database = await openDatabase({ name });
  const session = { ...(await sessionOf("room")), state: { onClose: () => undefined } };
  await database.sessions.put(session);
  const problem = database.problem.value;
  const found = await database.sessions.get("room");
  await database.sessions.put(await sessionOf("room"));
  const problemAfter = database.problem.value;
  database.close();
  return { problem, found, problemAfter };
}

// --- parts ---

async function exercise(database: Database) {
  await database.sessions.put(await sessionOf("room"));
  await database.users.put("https://edge", { name: "Ada", token: "jwt" });
  database.updates.append("room", Uint8Array.of(1));
  await database.updates.flush();
  await database.updates.compact("room", Uint8Array.of(2));
  const files = createScratchFiles(database, await createScratchWorkspace(database));
  await files.write("scratch/a", Uint8Array.of(1));
  const result = {
    sessions: (await database.sessions.list()).map(({ roomId }) => roomId),
    user: (await database.users.get("https://edge"))?.name,
    updates: (await database.updates.load("room")).map(([first]) => first),
    names: (await files.list("scratch")).map((entry) => entry.name),
    problem: database.problem.value,
    isForgetful: database.isForgetful.value,
  };
  files.close();
  database.close();
  return result;
}

async function sessionOf(roomId: string, lastUsedMs = Date.now()): Promise<SessionRecord> {
  const curve = { name: "ECDSA", namedCurve: "P-256" };
  return {
    roomId,
    isHost: true,
    roomToken: "token",
    publicKey: "key",
    keys: await crypto.subtle.generateKey(curve, false, ["sign", "verify"]),
    state: { self: { id: "me" } },
    workspace: { kind: "folder", handle: await navigator.storage.getDirectory() },
    workspaceName: "work",
    lastUsedMs,
  };
}

async function counts(database: Database, ...rooms: readonly string[]): Promise<number[]> {
  return Promise.all(rooms.map(async (room) => (await database.updates.load(room)).length));
}

function openRaw(name: string, version: number): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("not opened"));
  });
}

/** Returns a function that undoes it. */
function replace(target: object, property: string, descriptor: PropertyDescriptor): () => void {
  const original = Object.getOwnPropertyDescriptor(target, property);
  Object.defineProperty(target, property, { configurable: true, ...descriptor });
  return () => {
    if (original !== undefined) Object.defineProperty(target, property, original);
  };
}

async function reasonOf(operation: Promise<unknown>): Promise<string> {
  return operation.then(
    () => "none",
    (error: FileError) => error.reason,
  );
}
