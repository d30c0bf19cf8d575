/**
 * The host's side: answers what guests ask about files, and tells them about changes. Guests may send anything; they reach
 * nothing outside the workspace's folders, and no excluded file.
 */
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { BoundedSet } from "../../../../shared/base/bounded.ts";
import { fieldsOf } from "../../../../shared/base/json.ts";
import { createChangeListeners, type FileChange, FileError, type Files } from "../model/files.ts";
import { announceChanges } from "./announce-changes.ts";
import { folderOf, isExcluded, partsOf } from "./paths.ts";
import { errorForGuest, MAX_CONTENT_BYTES, typeOf } from "./wire.ts";

export type FileServer = ReturnType<typeof serveFiles>;

const MAX_LISTED = 200;

/** What guests can do. */
type Operations = Omit<Files, "watch">;

interface ServeDeps {
  readonly connection: ProtocolBroadcastConnection;
  readonly files: Files;
  /** Whether guests may only read. */
  readonly isReadOnly: () => boolean;
  /** A guest saves a file. True: it is open, and its shared text has been brought up to date, so that nothing is left to write. */
  readonly onWritten: (path: string, content: Uint8Array) => Promise<boolean>;
}

export function serveFiles(deps: ServeDeps) {
  const { connection, files } = deps;
  const announcer = announceChanges((changes) => connection.fs.change({ changes }));
  const listeners = createChangeListeners();
  const listed = new BoundedSet<string>(MAX_LISTED);
  let isClosed = false;

  const stopWatching = files.watch((path, change) => announcer.add(path, change));
  const ownFiles = announced(files, (path, change) => announcer.add(path, change));
  const guestFiles = announced(files, (path, change) => {
    announcer.add(path, change);
    listeners.notify(path, change);
  });

  answerRequests(deps, {
    files: guestFiles,
    isClosed: () => isClosed,
    onListed: (folder) => void listed.add(folder),
  });

  /** The same files for the host's own page. Guests are told what it changes, and its `watch` also reports what guests change. */
  const hostFiles: Files = {
    ...ownFiles,
    watch(listener) {
      const stop = files.watch(listener);
      const remove = listeners.add(listener);
      return () => {
        remove();
        stop();
      };
    },
  };

  return {
    files: hostFiles,
    /** Folders that guests have listed, the last ones: what to look at for changes beside the host's own. */
    listedFolders: () => [...listed],
    /** Refuses all further requests; nothing more is sent. */
    close(): void {
      isClosed = true;
      stopWatching();
      announcer.close();
    },
  };
}

function answerRequests(
  { connection: { fs }, isReadOnly, onWritten }: ServeDeps,
  server: {
    readonly files: Operations;
    readonly isClosed: () => boolean;
    readonly onListed: (folder: string) => void;
  },
): void {
  const { files } = server;

  /** Answers one request about `paths`, which a guest sent. */
  async function answer<T>(
    paths: readonly unknown[],
    isChange: boolean,
    operation: (...paths: string[]) => Promise<T>,
  ): Promise<T> {
    const checked = paths.map((path) => (typeof path === "string" ? path : ""));
    try {
      if (server.isClosed()) throw new FileError("unreachable", "the session has ended");
      for (const path of checked) partsOf(path);
      if (checked.some(isExcluded)) throw new FileError("missing", "excluded");
      if (isChange && isReadOnly()) throw new FileError("read-only", "the session is read-only");
      return await operation(...checked);
    } catch (error) {
      throw errorForGuest(error, checked.join(", "));
    }
  }

  fs.onStat((_origin, path: unknown) => answer([path], false, (at) => stat(files, at)));
  fs.onReaddir((_origin, path: unknown) =>
    answer([path], false, async (at) => {
      const names = await readdir(files, at);
      server.onListed(at);
      return names;
    }),
  );
  fs.onReadFile((_origin, path: unknown) =>
    answer([path], false, async (at) => ({ content: await readBounded(files, at) })),
  );
  fs.onWriteFile((_origin, path: unknown, data: unknown) =>
    answer([path], true, async (at) => {
      const content = contentOf(data);
      if (!(await onWritten(at, content))) await files.write(at, content);
    }),
  );
  fs.onMkdir((_origin, path: unknown) => answer([path], true, (at) => files.makeFolder(at)));
  fs.onDelete((_origin, path: unknown) =>
    answer([path], true, (at) => refuseHidden(files, at, () => files.remove(at))),
  );
  fs.onRename((_origin, from: unknown, to: unknown) =>
    answer([from, to], true, (source, target) =>
      refuseHidden(files, source, () => files.rename(source, target)),
    ),
  );
  // Only the host knows what has changed; without a handler the package writes each message to the console.
  fs.onChange(() => undefined);
}

// --- responses ---

async function stat(files: Operations, path: string) {
  const { kind, bytes, modifiedMs } = await files.info(path);
  return { type: typeOf(kind), size: bytes, mtime: modifiedMs, ctime: modifiedMs };
}

async function readdir(files: Operations, path: string): Promise<Record<string, number>> {
  const entries = await files.list(path);
  return Object.fromEntries(
    entries
      .filter(({ name }) => !isExcluded(`${path}/${name}`))
      .map(({ name, kind }) => [name, typeOf(kind)]),
  );
}

/** The size is known before the file is read, but the file may grow meanwhile. */
async function readBounded(files: Operations, path: string): Promise<Uint8Array> {
  const { bytes } = await files.info(path);
  const content = bytes > MAX_CONTENT_BYTES ? undefined : await files.read(path);
  if (content === undefined || content.length > MAX_CONTENT_BYTES) {
    throw new FileError("too-large", `files of more than ${MAX_CONTENT_BYTES} bytes are not sent`);
  }
  return content;
}

function contentOf(data: unknown): Uint8Array {
  const { content } = fieldsOf(data);
  if (content instanceof Uint8Array) return content;
  throw new FileError("failed", "the request holds no bytes");
}

/** A folder with an excluded file in it is neither removed nor moved by a guest, who does not see what is in it. */
async function refuseHidden(
  files: Operations,
  path: string,
  operation: () => Promise<void>,
): Promise<void> {
  const { kind } = await files.info(path);
  if (kind === "folder" && (await holdsExcluded(files, path))) {
    throw new FileError("denied", "this folder holds files that only the host may change");
  }
  await operation();
}

async function holdsExcluded(files: Operations, folder: string): Promise<boolean> {
  for (const { name, kind } of await files.list(folder)) {
    const path = `${folder}/${name}`;
    if (isExcluded(path) || (kind === "folder" && (await holdsExcluded(files, path)))) return true;
  }
  return false;
}

/** The same files; `tell` is told what is changed through them. */
function announced(files: Files, tell: (path: string, change: FileChange) => void): Operations {
  const exists = (path: string): Promise<boolean> =>
    files.info(path).then(
      () => true,
      () => false,
    );

  return {
    list: (folder) => files.list(folder),
    info: (path) => files.info(path),
    read: (path) => files.read(path),
    async write(path, content) {
      const change = (await exists(path)) ? "changed" : "created";
      await files.write(path, content);
      tell(path, change);
    },
    async makeFolder(path) {
      // Folders above it may be made as well.
      const made: string[] = [];
      for (let at = path; at !== "" && !(await exists(at)); at = folderOf(at)) made.unshift(at);
      await files.makeFolder(path);
      for (const at of made) tell(at, "created");
    },
    async remove(path) {
      await files.remove(path);
      tell(path, "deleted");
    },
    async rename(from, to) {
      await files.rename(from, to);
      tell(from, "deleted");
      tell(to, "created");
    },
  };
}
