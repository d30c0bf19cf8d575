/**
 * Keeps values in the browser's IndexedDB. The connection is opened again when the browser or another tab has closed it.
 */
import { type IDBPDatabase, openDB } from "idb";
import { type Backend, type Change, endOfPrefix, STORES } from "./backend.ts";

const VERSION = 1;
/** Opening never ends in some browsers when their storage is damaged; a healthy one takes milliseconds. */
const OPEN_TIMEOUT_MS = 4_000;

/** Rejects when the database cannot be opened. */
export async function openIndexedDb(name: string): Promise<Backend> {
  let connection: Promise<IDBPDatabase> | undefined;
  let isClosed = false;

  function connect(): Promise<IDBPDatabase> {
    if (isClosed) return Promise.reject(new Error("the database is closed"));
    connection ??= open(name, forget).catch((error: unknown) => {
      forget();
      throw error;
    });
    return connection;
  }

  function forget(): void {
    connection = undefined;
  }

  /** Repeats an operation once when the connection was closed without an event, as after a crash of the storage process. */
  async function run<T>(operation: (database: IDBPDatabase) => Promise<T>): Promise<T> {
    try {
      return await operation(await connect());
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "InvalidStateError")) throw error;
      forget();
      return operation(await connect());
    }
  }

  await connect();
  return {
    get: (store, key) => run((database) => database.get(store, key)),
    keys: (store, prefix) =>
      run(async (database) => (await database.getAllKeys(store, within(prefix))).map(String)),
    values: (store, prefix) => run((database) => database.getAll(store, within(prefix))),
    write: (changes) => run((database) => write(database, changes)),
    close() {
      isClosed = true;
      closeOnceOpen(connection);
    },
  };
}

async function open(name: string, onLost: () => void): Promise<IDBPDatabase> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const opening = openDB(name, VERSION, {
    upgrade(database) {
      for (const store of STORES) {
        if (!database.objectStoreNames.contains(store)) database.createObjectStore(store);
      }
    },
    // A tab with a newer version of the page waits until all older ones have closed the database.
    blocking(_current, _blocked, event) {
      (event.target as IDBDatabase).close();
      onLost();
    },
    terminated: onLost,
  });
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      // It may still open, after another tab was closed; it is not used then.
      closeOnceOpen(opening);
      reject(new DOMException(`no response within ${OPEN_TIMEOUT_MS} ms`, "TimeoutError"));
    }, OPEN_TIMEOUT_MS);
  });
  try {
    return await Promise.race([opening, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function closeOnceOpen(opening: Promise<IDBPDatabase> | undefined): void {
  opening?.then(
    (database) => database.close(),
    () => undefined,
  );
}

async function write(database: IDBPDatabase, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return;
  const names = [...new Set(changes.map(({ store }) => store))];
  const transaction = database.transaction(names, "readwrite");
  // The requests' own promises are awaited too: an unhandled rejection would be reported as an error of the page.
  const requests = changes.map(async (change) => {
    const store = transaction.objectStore(change.store);
    if ("put" in change) await store.put(change.value, change.put);
    else if ("remove" in change) await store.delete(change.remove);
    else await store.delete(rangeOf(change.removeAll));
  });
  try {
    await Promise.all([...requests, transaction.done]);
  } catch (error) {
    // A value that cannot be stored fails before its request exists: the browser would commit the others.
    if (transaction.error === null) abort(transaction);
    await Promise.allSettled([...requests, transaction.done]);
    throw transaction.error ?? error;
  }
}

function abort(transaction: { abort(): void }): void {
  try {
    transaction.abort();
  } catch {
    // It is over already.
  }
}

function rangeOf(prefix: string): IDBKeyRange {
  return IDBKeyRange.bound(prefix, endOfPrefix(prefix), false, true);
}

function within(prefix: string | undefined): IDBKeyRange | undefined {
  return prefix === undefined ? undefined : rangeOf(prefix);
}
