/** The failures of the File System Access API, in plain words. */
import { FileError, type FileErrorReason } from "../model/files.ts";
import { nameOf } from "./paths.ts";

interface Meaning {
  readonly reason: FileErrorReason;
  readonly text: (name: string) => string;
}

const MISSING: Meaning = {
  reason: "missing",
  text: (name) => `“${name}” does not exist any more.`,
};
const DENIED: Meaning = {
  reason: "denied",
  text: (name) => `The browser may not use “${name}”. Allow access to the folder, then try again.`,
};
const INVALID: Meaning = {
  reason: "name",
  text: (name) => `The browser does not accept the name “${name}”. Choose another one.`,
};

/** By the `name` of the browser's error. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  NotFoundError: MISSING,
  NotAllowedError: DENIED,
  SecurityError: DENIED,
  // Safe Browsing stopped the write.
  AbortError: DENIED,
  TypeError: INVALID,
  TypeMismatchError: {
    reason: "name",
    text: (name) => `The name “${name}” is taken, by a folder or a file. Choose another one.`,
  },
  QuotaExceededError: {
    reason: "full",
    text: () => "The disk has no space left. Free some space, then save again.",
  },
  NoModificationAllowedError: {
    reason: "denied",
    text: (name) => `Another program is using “${name}”. Close it there, then try again.`,
  },
  NotReadableError: {
    reason: "failed",
    text: (name) => `“${name}” cannot be read now. Try again.`,
  },
};

export function storageError(error: unknown, path: string): FileError {
  if (error instanceof FileError) return error;
  const meaning = MEANINGS[error instanceof Error ? error.name : ""];
  if (meaning !== undefined) {
    return new FileError(meaning.reason, meaning.text(nameOf(path)), { cause: error });
  }
  return new FileError("failed", `“${nameOf(path)}” could not be used. Try again.`, {
    cause: error,
  });
}
