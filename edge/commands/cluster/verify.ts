/**
 * `ct-edge verify`: checks the promises against a running deployment, from outside, with the protocol that clients speak. What
 * it needs beside other commands (the protocol's package, undici) is loaded by this command only.
 */
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { type Command, InvalidArgumentError, Option } from "commander";
import { describeError, EdgeError } from "../../../shared/base/errors.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { CommandError } from "../../output/errors.ts";
import { parseTarget } from "../../verify/model/target.ts";
import type { VerifyOptions } from "../../verify/run-options.ts";
import {
  commandSettings,
  createCommand,
  jsonOption,
  type Output,
  storeOptions,
} from "../command.ts";
import { withStore } from "../with-store.ts";

interface Flags {
  readonly json?: true;
  readonly strict?: true;
  readonly quick?: true;
  readonly long?: true;
  readonly token?: string;
  readonly apiKey?: string;
  readonly userToken?: string;
  readonly ca?: string;
  readonly drain?: string;
  readonly kill?: string;
  readonly dataDir?: string;
}

/** The length of a long poll, of which a look at idle connections has to see the end. */
const WATCH_MS = 30_000;
const QUICK_WATCH_MS = 0;
/** Below the 55 s after which a worker itself ends a connection that has joined no session. */
const LONG_WATCH_MS = 50_000;

export function verifyCommand(): Command {
  return createCommand<Flags>({
    name: "verify",
    description:
      "Checks what is promised against a running edge, through whatever stands in front of it; takes 30 s.",
    args: { "<url>": "The URL that people give their IDEs." },
    options: [
      secretOption("--token <token>", "A token of CT_DASHBOARD_TOKENS, to look inside"),
      secretOption("--api-key <key>", "A key of CT_LOGIN_API_KEY, to open sessions"),
      secretOption("--user-token <token>", "A user token of the protocol, to open sessions"),
      new Option("--ca <file>", "PEM file of an authority that is trusted besides those of Node."),
      new Option("--drain <worker>", "Drain this worker, watch a session on it, and resume it."),
      new Option("--kill <worker>", "Watch a session on this worker while you kill it."),
      new Option(
        "--quick",
        "Do not wait for idle connections to be cut; takes about 5 s.",
      ).conflicts("long"),
      new Option("--long", "Watch idle connections for 50 s."),
      new Option("--strict", "Exit with 2 if something is unknown."),
      jsonOption(),
      ...storeOptions(),
    ],
    async run(flags, url = "") {
      try {
        return await runVerify(flags, url);
      } catch (error) {
        // 1 is for a promise that is broken.
        if (error instanceof EdgeError) return { out: "", notes: [error.message], status: 2 };
        throw error;
      }
    },
  });
}

/** A kill ends connections that are watched at the same time: what is in front would be blamed. */
function watchMsOf({ quick, long, kill }: Flags): number {
  if (quick || kill !== undefined) return QUICK_WATCH_MS;
  return long ? LONG_WATCH_MS : WATCH_MS;
}

async function runVerify(flags: Flags, url: string): Promise<Output> {
  const target = parseTarget(url);
  if (target === undefined) {
    throw new CommandError(
      `${escapeForTerminal(url)} is not the URL of an edge; write it like https://edge.example.com, without user, query or #`,
    );
  }
  const stop = new AbortController();
  const interruptionStatus = listenForSignals(stop);
  const options: VerifyOptions = {
    target,
    ca: flags.ca === undefined ? undefined : readAuthorities(flags.ca),
    credentials: { userToken: flags.userToken, apiKey: flags.apiKey },
    token: flags.token,
    store: storeAccess(flags),
    watchMs: watchMsOf(flags),
    drain: flags.drain,
    kill: flags.kill,
    signal: stop.signal,
    onProgress: progress(flags),
  };
  const [{ verify }, { reportText, statusOf, verifyAnswer }] = await Promise.all([
    import("../../verify/run.ts"),
    import("../../verify/report.ts"),
  ]);
  const report = await verify(options);
  return {
    json: verifyAnswer(report),
    out: reportText(report),
    status: interruptionStatus() ?? statusOf(report, flags.strict),
  };
}

// --- what it is given ---

/** Such a value is visible in the list of processes, unless it is read from a file. */
function secretOption(flags: string, description: string): Option {
  return new Option(flags, `${description}; @FILE reads it from a file.`).argParser((value) => {
    if (!value.startsWith("@")) return value;
    try {
      return readFileSync(value.slice(1), "utf8").trim();
    } catch (error) {
      throw new InvalidArgumentError(describeError(error));
    }
  });
}

/** With those that Node knows: one more authority must not replace them. */
function readAuthorities(file: string): readonly string[] {
  return [...rootCertificates, readPem("--ca", file)];
}

function readPem(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CommandError(`${option} ${escapeForTerminal(file)}: ${describeError(error)}`);
  }
}

/** Only if it was named: an edge at a URL is seldom the one of this folder. */
function storeAccess(flags: Flags): VerifyOptions["store"] {
  const settings = commandSettings(flags);
  const { redisUrl, redisCa, redisPrefix } = settings;
  const isNamed = flags.dataDir !== undefined || process.env["CT_DATA_DIR"] !== undefined;
  if (redisUrl === undefined && !isNamed) return undefined;
  return {
    withStore: (use) => withStore(settings, ({ store }) => use(store)),
    redis:
      redisUrl === undefined
        ? undefined
        : {
            url: redisUrl,
            ca: redisCa === undefined ? undefined : readPem("CT_REDIS_CA", redisCa),
            prefix: redisPrefix,
          },
  };
}

// --- while it runs ---

/** On a terminal only, and not mixed with JSON. Instructions to kill a worker are always shown. */
function progress({ json, kill }: Flags): (text: string) => void {
  const isShown = kill !== undefined || (json === undefined && process.stderr.isTTY);
  return (text) => {
    if (isShown) process.stderr.write(`ct-edge: ${escapeForTerminal(text)}\n`);
  };
}

const STATUS_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Returns what tells the exit status after a signal. The first one ends the verification, which then closes what it has opened; the second ends the process. */
function listenForSignals(stop: AbortController): () => number | undefined {
  let status: number | undefined;
  for (const [name, code] of Object.entries(STATUS_BY_SIGNAL)) {
    process.on(name, () => {
      if (status !== undefined) process.exit(status);
      status = code;
      process.stderr.write("ct-edge: interrupted; closing what was opened\n");
      stop.abort();
    });
  }
  return () => status;
}
