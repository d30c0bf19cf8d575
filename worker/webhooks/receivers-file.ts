/**
 * Reads the file of CT_WEBHOOKS. Its problems are for the operator who wrote it, with the lines where they are; they never
 * contain a secret.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { EVENT_KINDS } from "../../shared/activity/event.ts";
import { describeError } from "../../shared/base/errors.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";
import { readYaml } from "../../shared/settings/yaml-text.ts";
import { type AddressRules, urlProblem } from "./receiver-addresses.ts";
import { isKnownPattern, type Receiver } from "./receivers.ts";
import { parseSecret } from "./signature.ts";

const MAX_BYTES = 256 * 1024;
const MAX_RECEIVERS = 20;
/** More than two are a rotation that nobody has finished. */
const MAX_SECRETS = 3;

/** The file has mistakes, or cannot be read. */
export class ReceiversError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("; "));
    this.problems = problems;
  }
}

/** `onFile` is called before each file is read: this one, and those that it names. Throws `ReceiversError` with what is wrong. */
export function readReceivers(
  path: string,
  rules: AddressRules,
  onFile: (path: string) => void = () => {},
): readonly Receiver[] {
  let text: string;
  try {
    onFile(path);
    const found = statSync(path);
    // Reading a pipe would wait for its writer.
    if (!found.isFile()) throw new Error("it is not a file");
    if (found.size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
    text = readTextFile(path);
  } catch (error) {
    throw new ReceiversError([describeError(error)]);
  }
  return parseReceivers(text, rules, dirname(resolve(path)), onFile);
}

/** `folder`: against which the names of files in it are resolved. Throws `ReceiversError`. */
export function parseReceivers(
  text: string,
  rules: AddressRules,
  folder: string,
  onFile: (path: string) => void = () => {},
): readonly Receiver[] {
  const fileAt = (name: string): string => {
    const path = resolve(folder, name);
    onFile(path);
    return path;
  };
  const read = readYaml(text, fileSchema, {
    empty: "the file is empty; without webhooks, unset CT_WEBHOOKS",
    describePath,
  });
  if (read.outcome === "invalid") throw new ReceiversError(read.problems);
  const names = new Set<string>();
  const problems: string[] = [];
  const receivers = read.value.receivers.flatMap((written): Receiver[] => {
    try {
      if (names.has(written.name)) throw new Error("another receiver has the same name");
      names.add(written.name);
      return [toReceiver(written, rules, fileAt)];
    } catch (error) {
      problems.push(`receiver ${written.name}: ${describeError(error)}`);
      return [];
    }
  });
  if (problems.length > 0) throw new ReceiversError(problems);
  return receivers;
}

function describePath(path: readonly PropertyKey[]): string {
  const [, index, ...rest] = path;
  if (path[0] === "receivers" && typeof index === "number") {
    return `receiver ${index + 1}${rest.length > 0 ? `, ${rest.join(".")}` : ""}: `;
  }
  return path.length > 0 ? `${path.join(".")}: ` : "";
}

// --- the form of a file ---

const path = z.string().min(1, "must not be empty").max(4096);

const receiverSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,39}$/, "must be 1 to 40 of a-z 0-9 . _ -, like billing"),
  url: z.string().max(2048),
  secrets: z
    .array(z.string())
    .min(1, "the list is empty")
    .max(MAX_SECRETS, `has more than ${MAX_SECRETS} secrets`)
    .optional(),
  secretFile: path.optional(),
  events: z
    .array(
      z.string().refine((pattern) => isKnownPattern(pattern, EVENT_KINDS), {
        error: ({ input }) =>
          `${JSON.stringify(input)} is none of the kinds: ${EVENT_KINDS.join(", ")}, or a family like peer.*`,
      }),
    )
    .min(1, "the list is empty, so that no event is meant")
    .max(100)
    .optional(),
  personalData: z.boolean().default(true),
  caFile: path.optional(),
});

const fileSchema = z.strictObject({
  receivers: z
    .array(receiverSchema)
    .min(1, "there are no receivers; without webhooks, unset CT_WEBHOOKS")
    .max(MAX_RECEIVERS, `there are more than ${MAX_RECEIVERS} receivers`),
});

// --- what it means ---

/** `fileAt`: the path of a file that is read next. */
function toReceiver(
  written: z.infer<typeof receiverSchema>,
  rules: AddressRules,
  fileAt: (name: string) => string,
): Receiver {
  const { name, events, personalData, caFile } = written;
  const problem = urlProblem(written.url, rules);
  if (problem !== undefined) throw new Error(problem);
  return {
    name,
    url: new URL(written.url),
    secrets: secretsOf(written, fileAt).map((text, index) => {
      const secret = parseSecret(text);
      if (secret !== undefined) return secret;
      throw new Error(
        `secret ${index + 1} must be whsec_ and 24 to 64 bytes in base64; make one with: echo "whsec_$(openssl rand -base64 32)"`,
      );
    }),
    events,
    hasPersonalData: personalData,
    authority: caFile === undefined ? undefined : readFileSync(fileAt(caFile), "utf8"),
  };
}

/** A file has one in each line. */
function secretsOf(
  { secrets, secretFile }: z.infer<typeof receiverSchema>,
  fileAt: (name: string) => string,
): readonly string[] {
  if (secrets !== undefined && secretFile !== undefined) {
    throw new Error("give secrets or secretFile, not both");
  }
  if (secrets !== undefined) return secrets;
  if (secretFile === undefined) {
    throw new Error("a secret is missing; give secrets: [whsec_…] or secretFile");
  }
  const lines = readTextFile(fileAt(secretFile))
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length === 0 || lines.length > MAX_SECRETS) {
    throw new Error(`secretFile must have 1 to ${MAX_SECRETS} lines with a secret each`);
  }
  return lines;
}
