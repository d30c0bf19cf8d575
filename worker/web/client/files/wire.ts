/**
 * What host and guest say about files in the protocol: numbers of kinds and changes, and the words in errors by which clients
 * tell a missing file from other failures. Pure.
 */
import {
  type EntryKind,
  FILE_CHANGES,
  type FileChange,
  FileError,
  type FileErrorReason,
} from "../model/files.ts";

/**
 * Contents that fit into a message: a server closes the connection of a host that sends more than it accepts, which is 16 MiB
 * for this edge. The rest is for encryption and keys.
 */
export const MAX_CONTENT_BYTES = 15 * 1024 * 1024;

const TYPES = { folder: 2, file: 1, link: 64, unknown: 0 } as const;

export function typeOf(kind: EntryKind): number {
  return TYPES[kind];
}

/** A link to a file or a folder has the bits of both. */
export function kindOf(type: unknown): EntryKind {
  if (typeof type !== "number") return "unknown";
  const kinds = ["folder", "file", "link"] as const;
  return kinds.find((kind) => (type & TYPES[kind]) !== 0) ?? "unknown";
}

export function changeTypeOf(change: FileChange): number {
  return FILE_CHANGES.indexOf(change);
}

export function changeOf(type: unknown): FileChange | undefined {
  return typeof type === "number" ? FILE_CHANGES[type] : undefined;
}

// --- errors ---

/** VS Code's guests look for ENOENT; the others follow Node's names as well. */
const CODES: Readonly<Record<FileErrorReason, string>> = {
  missing: "ENOENT",
  name: "EEXIST",
  denied: "EACCES",
  "read-only": "EROFS",
  full: "ENOSPC",
  "too-large": "EFBIG",
  unreachable: "ETIMEDOUT",
  failed: "EIO",
};

/** For guests: says nothing about the host's machine. */
export function errorForGuest(error: unknown, path: string): Error {
  if (!(error instanceof FileError)) return new Error(`EIO: the host could not use ${path}`);
  // The same for a file that does not exist and for one that is kept from guests.
  if (error.reason === "missing") return new Error(`ENOENT: file not found: ${path}`);
  return new Error(`${CODES[error.reason]}: ${error.message}`);
}

/** What hosts write into their errors: this client, Node, VS Code, and the server when a host does not respond. */
const REASONS: readonly (readonly [RegExp, FileErrorReason])[] = [
  [/\bENOENT\b|NotFound|not found|does not exist/i, "missing"],
  [
    /\bEEXIST\b|\bEISDIR\b|\bENOTDIR\b|\bENOTEMPTY\b|EntryExists|FileExists|already exists/i,
    "name",
  ],
  [/\bEROFS\b|read-?only/i, "read-only"],
  [/\bEACCES\b|\bEPERM\b|NoPermissions/i, "denied"],
  [/\bENOSPC\b|QuotaExceeded/i, "full"],
  [/\bEFBIG\b|too large/i, "too-large"],
  [
    /\bETIMEDOUT\b|timed out|Failed to retrieve the requested data|No public key found/i,
    "unreachable",
  ],
];

const TEXTS: Readonly<Record<FileErrorReason, (name: string) => string>> = {
  missing: (name) => `“${name}” does not exist any more at the host.`,
  name: (name) =>
    `The host does not accept the name “${name}”: it is taken or invalid. Choose another one.`,
  denied: (name) => `The host does not give access to “${name}”. Ask the host.`,
  "read-only": () => "The session is read-only. Ask the host to let you edit.",
  full: () => "The host’s disk has no space left. Ask the host to free some.",
  "too-large": (name) => `“${name}” is too large to send. Ask the host for it in another way.`,
  unreachable: () => "The host does not respond. Try again in a moment.",
  failed: (name) => `The host could not use “${name}”. Try again.`,
};

/** The host's own words are not shown: they may say anything. */
export function errorFromHost(error: unknown, name: string): FileError {
  if (error instanceof FileError) return error;
  const message = error instanceof Error ? error.message.slice(0, 500) : "";
  const reason = REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? "failed";
  return new FileError(reason, TEXTS[reason](name), { cause: error });
}
