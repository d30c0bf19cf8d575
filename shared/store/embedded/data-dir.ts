/**
 * The data directory of the embedded store: prepares it, and makes sure that one store at a time uses it.
 *
 * A running store listens on a Unix socket in a private folder with a random name, and holds a claim: a symbolic link
 * `store.owner.<n>` to that socket. It makes the link after the socket listens, so another process can tell by connecting
 * whether the holder is alive; a stale process id proves nothing. Only the highest claim counts, and a new one is one
 * higher. Creating a link that exists fails, so of two stores that start together one gets the number and the other checks
 * again. The highest claim is never removed, also after its socket is gone: a process that has just checked it would go
 * unnoticed by the next.
 */
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { describeError, EdgeError, errorCode } from "../../base/errors.ts";

/** A socket path may have 107 bytes on Linux and 103 on macOS; a longer one is truncated silently. */
const MAX_SOCKET_PATH_BYTES = 100;
const CLAIM = /^store\.owner\.(\d{1,15})$/;
const SOCKET_FOLDER = /^(?:ct-edge-)?(store|control)-[A-Za-z0-9]{6}$/;
/** Errors of a connection without a listener, and of a claim that is not a link (EINVAL) or was removed. */
const NOT_LISTENING = new Set(["ECONNREFUSED", "ENOENT", "ENOTSOCK", "ENOTDIR", "EINVAL"]);
/** The system connects to a live socket at once; this long leaves time for a busy machine. */
const CONNECT_TIMEOUT_MS = 2000;

export class DataDirError extends EdgeError {
  readonly code = "EDGE_DATA_DIR";
  constructor(dataDir: string, cause: unknown) {
    super(
      `CT_DATA_DIR=${dataDir}: cannot be used (${describeError(cause)}); use a folder that this user can read and write, on a disk with free space`,
      { cause },
    );
  }
}

export class StoreInUseError extends EdgeError {
  readonly code = "EDGE_STORE_IN_USE";
  constructor(dataDir: string) {
    super(
      `CT_DATA_DIR=${dataDir}: another edge uses this data directory; stop it, or set CT_DATA_DIR to another folder`,
    );
  }
}

/** Creates the directory if missing (mode 0700) and returns its absolute path. Throws `DataDirError`. */
export function prepareDataDir(dataDir: string): string {
  const absolute = path.resolve(dataDir);
  try {
    // Recursive only where needed: in /proc, where nothing can be created, Node's recursive form never returns.
    const recursive = !fs.existsSync(path.dirname(absolute));
    if (!fs.existsSync(absolute)) fs.mkdirSync(absolute, { recursive, mode: 0o700 });
    fs.accessSync(absolute, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return absolute;
  } catch (error) {
    throw new DataDirError(dataDir, error);
  }
}

/**
 * Makes `server` listen on a private socket (mode 0600) and returns its path: in the data directory, or in the system's
 * temporary folder when the path would be too long or the file system has no sockets.
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
  // The folder is created private (0700): no other user can reach the socket between bind and chmod.
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
 * Claims the directory for the store that listens on `socketPath`, until that socket closes. Throws `StoreInUseError` when
 * another store is alive or starts at the same time.
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
    // A process that slept after its check may have taken a number that was in use and has been removed since.
    if (highestClaim(dataDir) === own) {
      removeOldClaims(dataDir, own);
      return;
    }
    fs.rmSync(claimPath(dataDir, own), { force: true });
  }
}

/** The socket of the store that uses or last used `dataDir`, for programs that the store did not start. */
export function findStoreSocket(dataDir: string): string | undefined {
  try {
    const highest = highestClaim(dataDir);
    return highest === 0 ? undefined : claimedSocket(dataDir, highest);
  } catch {
    return undefined;
  }
}

/** The socket path of a claim. Throws when the claim is not a link. */
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
 * Whether the holder of a claim is alive. Only a refused connection and a missing socket mean no: a stopped process, or one
 * with a full queue, keeps its claim.
 */
async function isClaimed(dataDir: string, number: number): Promise<boolean> {
  const socket = new net.Socket();
  socket.on("error", () => {});
  try {
    socket.connect(claimedSocket(dataDir, number));
    await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
    return true;
  } catch (error) {
    return !NOT_LISTENING.has(errorCode(error) ?? "");
  } finally {
    socket.destroy();
  }
}

/** Removes older claims except the last one, and their sockets. */
function removeOldClaims(dataDir: string, own: number): void {
  for (const number of claimNumbers(dataDir)) {
    if (number >= own) continue;
    try {
      removeSocket(claimedSocket(dataDir, number));
      // The previous one stays, so that a concurrent directory listing cannot miss both.
      if (number < own - 1) fs.rmSync(claimPath(dataDir, number), { force: true });
    } catch {
      // A foreign file with a claim's name; harmless.
    }
  }
}
