/**
 * The data directory of the embedded store: that it can be used, and that one store at a time uses it.
 *
 * A running store listens on a Unix socket in a private folder with a random name, and holds a claim: a symbolic link
 * `store.owner.<n>` to that socket. The link is made after the socket listens, so whoever finds a claim can tell with
 * certainty, by connecting, whether its holder lives; a stale process id proves nothing. Only the highest claim counts,
 * and a new one is one higher. Making a link that exists fails, so of two stores that start together one gets the number
 * and the other looks again. Nobody ever removes the highest claim, for a starter that has just judged it would otherwise
 * not be noticed by the next: it is left behind, its socket gone.
 */
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { describeError, EdgeError, errorCode } from "../../base/errors.ts";

/** A socket's path may have 107 bytes on Linux and 103 on macOS; a longer one would be cut off silently. */
const MAX_SOCKET_PATH_BYTES = 100;
const CLAIM = /^store\.owner\.(\d{1,15})$/;
const SOCKET_FOLDER = /^(?:ct-edge-)?(store|control)-[A-Za-z0-9]{6}$/;
/** Of a connection, and of a claim that is no link (EINVAL) or was cleared away. */
const NOBODY_LISTENS = new Set(["ECONNREFUSED", "ENOENT", "ENOTSOCK", "ENOTDIR", "EINVAL"]);
/** Somebody who is busy may need this long to be noticed; a live socket is connected to at once by the system. */
const CONNECT_TIMEOUT_MS = 2000;

/** The data directory cannot be used. */
export class DataDirError extends EdgeError {
  readonly code = "EDGE_DATA_DIR";
  readonly source = "settings";
  readonly retryable = false;
  constructor(dataDir: string, cause: unknown) {
    super(
      `CT_DATA_DIR=${dataDir}: cannot be used (${describeError(cause)}); use a folder that this user can read and write, on a disk with free space`,
      { cause },
    );
  }
}

/** Another store lives in the data directory. */
export class StoreInUseError extends EdgeError {
  readonly code = "EDGE_STORE_IN_USE";
  readonly source = "settings";
  readonly retryable = false;
  constructor(dataDir: string) {
    super(
      `CT_DATA_DIR=${dataDir}: another edge uses this data directory; stop it, or set CT_DATA_DIR to another folder`,
    );
  }
}

/** Makes the directory when it is missing (mode 0700) and returns its absolute path. Throws `DataDirError`. */
export function prepareDataDir(dataDir: string): string {
  const absolute = path.resolve(dataDir);
  try {
    // Recursive only where it is needed: in /proc, where nothing can be made, Node's recursive form never returns.
    const recursive = !fs.existsSync(path.dirname(absolute));
    if (!fs.existsSync(absolute)) fs.mkdirSync(absolute, { recursive, mode: 0o700 });
    fs.accessSync(absolute, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return absolute;
  } catch (error) {
    throw new DataDirError(dataDir, error);
  }
}

/**
 * Has `server` listen on a socket of its own, mode 0600, and returns its path: in the data directory, or in the system's
 * folder for temporary files when the path would be too long or the directory's file system knows no sockets.
 */
export async function listenPrivately(
  server: net.Server,
  dataDir: string,
  name: SocketName = "store",
): Promise<string> {
  try {
    const inside = path.join(dataDir, `${name}-`);
    const pathBytes = Buffer.byteLength(path.join(`${inside}XXXXXX`, `${name}.sock`));
    if (pathBytes <= MAX_SOCKET_PATH_BYTES) return await listenIn(inside, server, name);
  } catch (error) {
    if (!["ENOTSUP", "EOPNOTSUPP", "EPERM", "EINVAL"].includes(errorCode(error) ?? "")) throw error;
  }
  return listenIn(path.join(os.tmpdir(), `ct-edge-${name}-`), server, name);
}

/** The store's own, and the one of the edge that runs it (edge/control/control.ts). */
type SocketName = "store" | "control";

async function listenIn(
  folderPrefix: string,
  server: net.Server,
  name: SocketName,
): Promise<string> {
  // The folder is private (0700) from birth: between the bind and the chmod nobody else can reach the socket.
  const socketPath = path.join(fs.mkdtempSync(folderPrefix), `${name}.sock`);
  try {
    server.listen(socketPath);
    await once(server, "listening");
    fs.chmodSync(socketPath, 0o600);
    return socketPath;
  } catch (error) {
    removeSocket(socketPath);
    throw error;
  }
}

/** Removes a socket and its folder, if that is one of ours. */
export function removeSocket(socketPath: string): void {
  const folder = path.dirname(socketPath);
  const name = SOCKET_FOLDER.exec(path.basename(folder))?.[1];
  const isOurs = name !== undefined && path.basename(socketPath) === `${name}.sock`;
  if (!isOurs || !fs.existsSync(folder)) return;
  fs.rmSync(socketPath, { force: true });
  fs.rmdirSync(folder);
}

/**
 * Claims the directory for the store that listens on `socketPath`. Throws `StoreInUseError` when another one lives, which
 * also answers for every start that comes at the same time. The claim ends when nobody listens on the socket any more.
 */
export async function claimDataDir(dataDir: string, socketPath: string): Promise<void> {
  // Relative where possible: a container may see the same directory under another path.
  const isInside = socketPath.startsWith(dataDir + path.sep);
  const target = isInside ? path.relative(dataDir, socketPath) : socketPath;
  for (;;) {
    const highest = highestClaim(dataDir);
    if (highest > 0 && (await isClaimed(dataDir, highest))) throw new StoreInUseError(dataDir);
    const own = highest + 1;
    try {
      fs.symlinkSync(target, claimPath(dataDir, own));
    } catch (error) {
      if (errorCode(error) === "EEXIST") continue;
      throw error;
    }
    // A starter that slept since it looked may have taken a number that was in use and has been cleared away.
    if (highestClaim(dataDir) === own) {
      clearAway(dataDir, own);
      return;
    }
    fs.rmSync(claimPath(dataDir, own), { force: true });
  }
}

/** The socket of the store that uses or last used `dataDir`, for programs that are not its children. */
export function findStoreSocket(dataDir: string): string | undefined {
  try {
    const highest = highestClaim(dataDir);
    return highest === 0 ? undefined : claimedSocket(dataDir, highest);
  } catch {
    return undefined;
  }
}

/** Where the holder of a claim listens, or did. Throws when the claim is no link. */
function claimedSocket(dataDir: string, number: number): string {
  return path.resolve(dataDir, fs.readlinkSync(claimPath(dataDir, number)));
}

function claimPath(dataDir: string, number: number): string {
  return path.join(dataDir, `store.owner.${number}`);
}

function claimNumbers(dataDir: string): number[] {
  return fs.readdirSync(dataDir).flatMap((name) => {
    const match = CLAIM.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
}

function highestClaim(dataDir: string): number {
  return Math.max(0, ...claimNumbers(dataDir));
}

/**
 * Whether the holder of a claim lives. Only a refusal and a missing socket say no: a stopped process, or one with a full
 * queue, holds its claim.
 */
async function isClaimed(dataDir: string, number: number): Promise<boolean> {
  const socket = new net.Socket();
  socket.on("error", () => {});
  try {
    socket.connect(claimedSocket(dataDir, number));
    await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
    return true;
  } catch (error) {
    return !NOBODY_LISTENS.has(errorCode(error) ?? "");
  } finally {
    socket.destroy();
  }
}

/** Removes older claims but the last one, and what is left of their sockets. */
function clearAway(dataDir: string, own: number): void {
  for (const number of claimNumbers(dataDir)) {
    if (number >= own) continue;
    try {
      removeSocket(claimedSocket(dataDir, number));
      // The one before stays, so that a directory listing made meanwhile cannot miss both.
      if (number < own - 1) fs.rmSync(claimPath(dataDir, number), { force: true });
    } catch {
      // Somebody else's file under our name; it harms nobody.
    }
  }
}
