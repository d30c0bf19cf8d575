/**
 * Verifies a deployment: runs the probes, judges what they have seen, and removes what they have created. Everything runs
 * beside the watch over idle connections, which takes the longest and begins first.
 */

import { readTag, type WorkerTag } from "../../shared/base/worker-tag.ts";
import { createCleanup } from "./cleanup.ts";
import {
  judgeBasePath,
  judgeCors,
  judgeServerUrl,
  type PageFile,
  pageFiles,
} from "./judge/address.ts";
import { judgeInside, workerCount } from "./judge/inside.ts";
import {
  headersOf,
  judgeBodyLimit,
  judgeFrontCookie,
  judgeIdle,
  judgePolling,
  judgeRequestBuffering,
  judgeResponseBuffering,
  judgeWebSocket,
} from "./judge/passage.ts";
import { judgeSession, judgeSignIn, judgeTwoWorkers } from "./judge/people.ts";
import { judgeCertificate, judgeClock, judgeEdge } from "./judge/reach.ts";
import { judgeRedis } from "./judge/redis.ts";
import { judgeStickiness } from "./judge/stickiness.ts";
import { lookInside, redisInfoOf } from "./look-inside.ts";
import { meetPeople } from "./meet-people.ts";
import { CHECK_IDS, type CheckId } from "./model/checks.ts";
import { type Finding, unknown, type Verdicts } from "./model/finding.ts";
import type { Handshake, HttpAnswer, Silence } from "./model/observations.ts";
import type { Target } from "./model/target.ts";
import { prepareKeys } from "./people/protocol.ts";
import { finishSignIn } from "./people/sign-in.ts";
import { readCertificate } from "./probes/certificate.ts";
import { openWebSocket, pollHandshake } from "./probes/engine.ts";
import { createHttpProbe, type HttpProbe } from "./probes/http.ts";
import { watchSilence } from "./probes/silence.ts";
import { type KeyedHandshakes, probeStickiness } from "./probes/stickiness.ts";
import { beginEvents, beginUpload } from "./probes/streaming.ts";
import type { Report } from "./report.ts";
import type { Run, VerifyOptions } from "./run-options.ts";
import { watchMoves } from "./watch-moves.ts";

/** To complete what was begun, after an interruption. */
const PATIENCE_MS = 6000;
/** For everything but the watches; a good edge needs a third of it. */
const BUDGET_MS = 28_000;

export async function verify(options: VerifyOptions): Promise<Report> {
  const startMs = performance.now();
  const cleanup = createCleanup();
  const stopping = new AbortController();
  const { signal } = options;
  const patience = later(signal, PATIENCE_MS);
  const patient = createHttpProbe(options.target, patience);
  const probing = AbortSignal.any([signal, stopping.signal]);
  const http = createHttpProbe(options.target, probing);
  const restore = muteLibraries();
  let findings: readonly Finding[];
  let leftBehind: number;
  try {
    findings = await look({ ...options, http, patient, patience, cleanup, signal: probing });
  } finally {
    leftBehind = await cleanup.run();
    stopping.abort();
    await Promise.all([http.close(), patient.close()]);
    restore();
  }
  return {
    url: options.target.baseUrl,
    tookMs: performance.now() - startMs,
    findings,
    wasInterrupted: signal.aborted,
    leftBehind,
  };
}

/** Is aborted `delayMs` after `signal`. */
function later(signal: AbortSignal, delayMs: number): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => {
    setTimeout(() => controller.abort(), delayMs).unref();
  };
  signal.addEventListener("abort", abort, { once: true });
  return controller.signal;
}

/**
 * The packages log what they cannot read to the console, with text of the server, and reject promises of their own when a
 * connection ends. Neither may reach the terminal or end this process before it has cleaned up. Returns how to undo it.
 */
function muteLibraries(): () => void {
  const { error, warn, log } = console;
  const ignore = (): void => {};
  Object.assign(console, { error: ignore, warn: ignore, log: ignore });
  process.on("unhandledRejection", ignore);
  return () => {
    Object.assign(console, { error, warn, log });
    process.off("unhandledRejection", ignore);
  };
}

async function look(run: Run): Promise<Finding[]> {
  const { target, signal } = run;
  const watch = beginWatch(run);
  run.onProgress(`looking for an edge at ${target.baseUrl}`);
  const [meta, page, certificate] = await Promise.all([
    run.http.send("/api/meta"),
    run.http.send("/"),
    target.isSecure ? readCertificate(target, signal, run.ca) : undefined,
  ]);
  const nowMs = Date.now();
  const { hostname } = new URL(target.origin);
  const edge = judgeEdge(meta);
  const first = { edge, certificate: judgeCertificate(certificate, hostname, nowMs) };
  if (edge.state !== "held") {
    await watch.stop();
    return fillUp(first, "no edge responds at the URL", run);
  }
  prepareKeys();
  const budget = AbortSignal.any([signal, AbortSignal.timeout(BUDGET_MS)]);
  const others = await lookAround(run, budget, page, meta);
  run.onProgress("watching idle connections");
  const verdicts = {
    ...first,
    clock: judgeClock(meta, nowMs),
    "server-url": judgeServerUrl(page, target),
    ...others,
    idle: judgeIdle(await watch.silences, signal.aborted),
  };
  return fillUp(verdicts, "interrupted", run);
}

/** Before all the rest, because it takes longest. */
function beginWatch(run: Run): { silences: Promise<readonly Silence[]>; stop(): Promise<unknown> } {
  const stopping = new AbortController();
  const signal = AbortSignal.any([run.signal, stopping.signal]);
  const stoppable = (http: HttpProbe): HttpProbe => ({
    ...http,
    send: (where, options) =>
      http.send(where, {
        ...options,
        signal: AbortSignal.any([stopping.signal, ...(options?.signal ? [options.signal] : [])]),
      }),
  });
  const silences = watchSilence(
    {
      target: run.target,
      signal,
      http: stoppable(run.http),
      patient: stoppable(run.patient),
      onToken(token) {
        run.cleanup.add(() => finishSignIn(run.patient, token, run.credentials));
      },
    },
    run.watchMs,
  );
  return {
    silences,
    stop() {
      stopping.abort();
      return silences;
    },
  };
}

/** Everything but the idle connections. */
async function lookAround(
  run: Run,
  budget: AbortSignal,
  page: HttpAnswer,
  meta: HttpAnswer,
): Promise<Verdicts> {
  const { target, token, signal } = run;
  const http: HttpProbe = {
    ...run.http,
    send: (where, options) => run.http.send(where, { ...options, signal: budget }),
  };
  run.onProgress("looking at what passes");
  const [webSocket, polls, files, cors, upload, events, inside, redis] = await Promise.all([
    handshakeByWebSocket(target, budget),
    twoPolls(http),
    readFiles(http, target, page),
    askAsPages(http, target),
    beginUpload(target, budget),
    token === undefined ? undefined : beginEvents(target, budget, token),
    lookInside(run, http, budget),
    redisInfoOf(run),
  ]);
  const accepts = !signal.aborted && polls.every(({ outcome }) => outcome === "open");
  run.onProgress("looking where requests go");
  const [keyed, invitation] = await Promise.all([
    accepts ? probeStickiness(http) : [],
    http.send(`/join/${"A".repeat(24)}`),
  ]);
  const workers = workerCount(inside);
  const upgrades = webSocket.outcome === "open";
  const people = accepts ? await meetPeople(run, budget, { keyed, upgrades }) : undefined;
  const moves = await watchMoves({ ...run, keyed, inside, userToken: people?.userToken });
  return {
    websocket: judgeWebSocket(webSocket),
    polling: judgePolling(...polls),
    "base-path": judgeBasePath(page, files, target),
    cors: judgeCors(...cors),
    "request-buffering": judgeRequestBuffering(upload),
    "response-buffering": judgeResponseBuffering(events),
    "body-limit": judgeBodyLimit(upload, people?.file),
    "front-cookie": judgeFrontCookie(headersOf([meta, webSocket, ...polls, ...cors])),
    ...judgeStickiness(keyed, invitation, workers),
    "sign-in": judgeSignIn(people?.signIn),
    session: judgeSession(people?.first),
    "two-workers": judgeTwoWorkers(people?.first, people?.second, workers),
    ...judgeInside(inside, tagsOf(keyed, polls)),
    ...judgeRedis(redis),
    ...moves,
  };
}

// --- what passes ---

async function handshakeByWebSocket(target: Target, signal: AbortSignal): Promise<Handshake> {
  const opened = await openWebSocket(target, signal);
  if ("outcome" in opened) return opened;
  opened.close();
  return opened.handshake;
}

/** One after the other: a cache in between would answer the second. */
async function twoPolls(http: HttpProbe): Promise<[Handshake, Handshake]> {
  const first = await pollHandshake(http);
  return [first, first.outcome === "open" ? await pollHandshake(http) : first];
}

const MAX_FILES = 3;

async function readFiles(
  http: HttpProbe,
  { origin }: Target,
  page: HttpAnswer,
): Promise<PageFile[]> {
  return Promise.all(
    pageFiles(page)
      .slice(0, MAX_FILES)
      .map(async (path) => ({ path, answer: await http.send(origin + path) })),
  );
}

/** As pages of another origin, and of the edge's own, ask. */
async function askAsPages(
  http: HttpProbe,
  target: Target,
): Promise<[HttpAnswer, HttpAnswer, HttpAnswer]> {
  const origin = "https://ide.example.com";
  return Promise.all([
    http.send("/api/login/initial", {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-oct-jwt,content-type",
      },
    }),
    http.send("/api/meta", { headers: { origin } }),
    http.send("/api/meta", { headers: { origin: target.origin } }),
  ]);
}

function tagsOf(
  keyed: readonly KeyedHandshakes[],
  polls: readonly Handshake[],
): ReadonlySet<WorkerTag> {
  const all = keyed.flatMap(({ tags }) => Object.values(tags).flat());
  for (const poll of polls) if (poll.outcome === "open") all.push(readTag(poll.sid));
  return new Set(all.filter((tag) => tag !== undefined));
}

// --- the rest ---

/** A finding for each check. Those that are only made on request are left out. */
function fillUp(
  verdicts: Verdicts,
  why: string,
  { drain, kill }: Pick<Run, "drain" | "kill">,
): Finding[] {
  const isWanted = (id: CheckId): boolean =>
    (id !== "drain" || drain !== undefined) && (id !== "kill" || kill !== undefined);
  const missing = unknown(why, "see the first finding");
  return CHECK_IDS.filter(isWanted).map((id) => ({ id, ...(verdicts[id] ?? missing) }));
}
