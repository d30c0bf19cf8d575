/**
 * Who may see what is for operators only: the dashboard, statistics, metrics. One name and one password for the whole
 * edge: those of `CT_DASHBOARD_*`, else of `CT_LOGS_*`, else the name `ctuser` and a password that is made once, written
 * to the log once, and kept in the store as a digest.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  type CredentialSettings,
  configuredCredentials,
  DEFAULT_USER,
} from "../../shared/settings/operator-credentials.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import { createFailures } from "./failures.ts";

export interface Credentials {
  /**
   * Judges the `Authorization` field of a request from `address`. Right credentials are granted at once, whatever came
   * from that address before. Wrong ones are answered later each time; `flood` after more than 100 within a minute.
   */
  check(authorization: string | undefined, address: string): Promise<Verdict>;
  /** Makes sure that there are credentials, and logs a password that was made for it. Never rejects. */
  start(): Promise<void>;
}

export type Verdict =
  | { readonly outcome: "granted"; readonly user: string }
  | { readonly outcome: "refused" }
  | { readonly outcome: "flood"; readonly retryAfterS: number };

interface Needs {
  readonly settings: CredentialSettings;
  readonly store: Pick<Store, "putIfAbsent">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** SHA-256 of both; nothing else of a password is kept. */
interface Known {
  readonly user: Buffer;
  readonly password: Buffer;
  /** Colons in the name: RFC 7617 §2 has none there, but an operator who chose such a name shall get in. */
  readonly colons: number;
}

/** 24 characters. */
const PASSWORD_BYTES = 18;
/** Name of the made password's digest in the store. */
const AGREEMENT = "credentials/password";

/** Each failure of a minute costs so much more than the one before; with the limit, 100 guesses take three minutes. */
const DELAY_STEP_MS = 50;
const MAX_DELAY_MS = 2000;
const MAX_FAILURES_PER_MINUTE = 100;
/** Answers that are held back at a time, so that a flood from many addresses cannot fill the memory. */
const MAX_HELD = 1000;
/** Wrong credentials make a worker look whether the store has another password; not more often than this. */
const LOOK_AGAIN_MS = 1000;

export function createCredentials(needs: Needs): Credentials {
  const { clock, counters } = needs;
  const failures = createFailures();
  const configured = digestsOf(needs.settings);
  const made = createMadePassword(needs);
  let held = 0;

  async function isRight(given: Given): Promise<boolean> {
    if (configured !== undefined) return isSame(given, configured);
    const known = made.known ?? (await made.ask());
    if (known !== undefined && isSame(given, known)) return true;
    const again = await made.askAgain();
    return again !== undefined && isSame(given, again);
  }

  return {
    async check(authorization, address) {
      // A browser asks without them first: nobody has failed yet.
      if (authorization === undefined) return { outcome: "refused" };
      const given = readBasic(authorization, configured?.colons ?? 0);
      if (given !== undefined && (await isRight(given))) {
        return { outcome: "granted", user: given.user.toString("utf8") };
      }
      counters.count("worker.credentials_refused");
      const { count, leftMs } = failures.add(address, clock.nowMs());
      if (count > MAX_FAILURES_PER_MINUTE) {
        return { outcome: "flood", retryAfterS: Math.ceil(leftMs / 1000) };
      }
      const delayMs = Math.min(MAX_DELAY_MS, (count - 1) * DELAY_STEP_MS);
      if (delayMs > 0 && held < MAX_HELD) {
        held++;
        await sleep(clock, delayMs).finally(() => held--);
      }
      return { outcome: "refused" };
    },
    async start() {
      if (configured === undefined) await made.ask();
    },
  };
}

// --- what is known ---

function digestsOf(settings: CredentialSettings): Known | undefined {
  const configured = configuredCredentials(settings);
  if (configured === undefined) return undefined;
  const { user, password } = configured;
  return { user: digest(user), password: digest(password), colons: user.split(":").length - 1 };
}

/** The password that is made when none is set: by whichever process is first, the same for all of them. */
function createMadePassword({ store, clock, log }: Needs) {
  let known: Known | undefined;
  /** Proposed again when the store did not answer: it may have been kept all the same. */
  let proposed: string | undefined;
  let asking: Promise<Known | undefined> | undefined;
  let askedMs = Number.NEGATIVE_INFINITY;

  /** What the edge agreed on; undefined while the store does not say. */
  function ask(): Promise<Known | undefined> {
    askedMs = clock.nowMs();
    asking ??= agreeOnPassword().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  async function agreeOnPassword(): Promise<Known | undefined> {
    if (known === undefined) proposed ??= randomBytes(PASSWORD_BYTES).toString("base64url");
    // A store that was emptied learns what is known here.
    const proposal = (known?.password ?? digest(proposed ?? "")).toString("hex");
    try {
      const kept = await store.putIfAbsent(AGREEMENT, proposal);
      if (!/^[0-9a-f]{64}$/.test(kept)) {
        log.error({ name: AGREEMENT }, "the password's digest in the store makes no sense");
        return known;
      }
      if (proposed !== undefined) logOutcome(kept === proposal ? proposed : undefined);
      proposed = undefined;
      known = { user: digest(DEFAULT_USER), password: Buffer.from(kept, "hex"), colons: 0 };
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
    }
    return known;
  }

  function logOutcome(password: string | undefined): void {
    if (password === undefined) {
      log.info(
        { user: DEFAULT_USER },
        "the password of the dashboard was made and logged earlier; set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD to choose another",
      );
      return;
    }
    // Within the sentence, because a field of this name is masked: this is the one place where a password is shown.
    log.info(
      `the dashboard's user is ${DEFAULT_USER} and its password ${password} (made now, shown only here); set CT_DASHBOARD_USER and CT_DASHBOARD_PASSWORD to choose others`,
    );
  }

  return {
    get known() {
      return known;
    },
    ask,
    /** As `ask`, unless that was done a moment ago. */
    askAgain: async () => (clock.nowMs() - askedMs >= LOOK_AGAIN_MS ? ask() : known),
  };
}

// --- what is given ---

interface Given {
  readonly user: Buffer;
  readonly password: Buffer;
}

/**
 * RFC 7617: all behind the first colon is the password, whatever it holds; `colonsInUser`: behind the one after so many.
 */
function readBasic(authorization: string, colonsInUser: number): Given | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(authorization) ?? [];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, "base64");
  let colon = bytes.indexOf(":");
  for (let left = colonsInUser; left > 0 && colon >= 0; left--)
    colon = bytes.indexOf(":", colon + 1);
  if (colon < 0) return undefined;
  return { user: bytes.subarray(0, colon), password: bytes.subarray(colon + 1) };
}

/** Digests have one length, so nothing of the expected ones can be measured; both are always compared. */
function isSame(given: Given, known: Known): boolean {
  const isUser = timingSafeEqual(digest(given.user), known.user);
  const isPassword = timingSafeEqual(digest(given.password), known.password);
  return isUser && isPassword;
}

function digest(text: string | Buffer): Buffer {
  return createHash("sha256").update(text).digest();
}
