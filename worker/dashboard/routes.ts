/**
 * The paths below /dashboard and /logs: the page, its JSON, its events, and what an operator may do. Everything is behind
 * the operator's credentials; what changes something takes a POST that only our own page can send.
 */
import { readFileSync } from "node:fs";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/clock.ts";
import type { EdgeCommand } from "../../shared/control/command.ts";
import { sendCommand } from "../../shared/control/send.ts";
import { harmless } from "../../shared/harmless.ts";
import { isWorkerId } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { Store, StoreHealth } from "../../shared/store/store.ts";
import { type Refuse, textAnswer } from "../api/answers.ts";
import { pageFields } from "../api/pages.ts";
import type { Gate } from "../credentials/gate.ts";
import type {
  CheckAnswer,
  CommandReply,
  DownloadsAnswer,
  HistoryRange,
  SessionEventsAnswer,
} from "./answers.ts";
import { describeMembers, describeOverview, describeSessions, SHOWN_ID_CHARS } from "./describe.ts";
import type { Feed } from "./feed.ts";
import { RANGES, readHistory } from "./history.ts";
import type { Logs } from "./logs.ts";
import type { Snapshots } from "./snapshot.ts";

export interface DashboardArea {
  readonly snapshots: Snapshots;
  readonly feed: Feed;
  readonly logs: Logs;
  /** Undefined: no plugins are offered, so none was downloaded. */
  readonly downloads:
    | {
        read(): Promise<
          readonly { day: string; ide: string; id: string; version: string; count: number }[]
        >;
      }
    | undefined;
  /** What an operator may want to know of this edge now. */
  readonly checks: () => Promise<CheckAnswer["checks"]>;
  readonly storeHealth: () => StoreHealth;
}

interface Needs {
  readonly app: FastifyInstance;
  readonly dashboard: DashboardArea;
  readonly gate: Gate;
  readonly refuse: Refuse;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: { readonly serverUrl: string | undefined };
}

const FOLDER = new URL("../web/dashboard/", import.meta.url);
/** What edge/build.mjs makes of the page's sources, and the page itself. */
const FILES = {
  "": { file: "index.html", type: "text/html; charset=utf-8" },
  "dashboard.js": { file: "dashboard.js", type: "text/javascript; charset=utf-8" },
  "dashboard.css": { file: "dashboard.css", type: "text/css; charset=utf-8" },
} as const;
const NOT_FOUND = textAnswer(404, "Not found");
const CROSS_SITE = textAnswer(403, "Only the dashboard's own page may ask for this");
const BUSY = textAnswer(503, "Too many people look at the dashboard; close a page and try again");
const MAX_EVENTS = 200;
const DEFAULT_LINES = 1000;

export function addDashboardRoutes(needs: Needs): void {
  void needs.app.register(async (app) => {
    app.addHook("onRequest", async (request, reply) => {
      // Nobody else's page may read any of it (the public API lets every origin in).
      for (const name of Object.keys(reply.getHeaders())) {
        if (name.startsWith("access-control-")) reply.removeHeader(name);
      }
      reply.headers({ ...pageFields(needs.settings), "cache-control": "no-store" });
      if ((await needs.gate(reply)) === undefined) return reply;
      if (request.method === "POST" && !isOwnPage(request)) {
        return needs.refuse(reply, "cross-site", CROSS_SITE);
      }
      return undefined;
    });
    const area = { ...needs, app };
    addPage(area);
    addViews(area);
    addLogs(area);
    addCommands(area);
  });
}

/**
 * A browser sends the credentials on its own, also for another site's form or script. It says whose request it is
 * (Fetch Metadata), and lets no other site set this field.
 */
function isOwnPage({ headers }: FastifyRequest): boolean {
  const site = headers["sec-fetch-site"];
  return headers["x-dashboard-request"] === "1" && (site === undefined || site === "same-origin");
}

// --- the page ---

function addPage({ app }: Needs): void {
  app.get("/dashboard", (_request, reply) => reply.redirect("/dashboard/"));
  for (const [path, { file, type }] of Object.entries(FILES)) {
    const bytes = readOnce(new URL(file, FOLDER));
    app.get(`/dashboard/${path}`, (_request, reply) =>
      reply.header("content-type", type).send(bytes()),
    );
  }
}

/** Read when it is first asked for: sources that were not built have no script. */
function readOnce(url: URL): () => Buffer {
  let bytes: Buffer | undefined;
  return () => {
    bytes ??= readFileSync(url);
    return bytes;
  };
}

// --- what is seen ---

function addViews({ app, dashboard, store, refuse }: Needs): void {
  const { snapshots, feed, storeHealth } = dashboard;
  app.get("/dashboard/api/overview", async () =>
    describeOverview(await snapshots.read(), storeHealth()),
  );
  app.get("/dashboard/api/workers", async () => describeMembers(await snapshots.read()));
  app.get("/dashboard/api/sessions", async () => describeSessions(await snapshots.read()));
  app.get("/dashboard/api/check", async () => ({ checks: await dashboard.checks() }));
  app.get("/dashboard/api/history", async (request, reply) => {
    const { range = "hour" } = request.query as { range?: string };
    return isRange(range) ? readHistory(store, range) : refuse(reply, "path", NOT_FOUND);
  });
  app.get("/dashboard/api/sessions/:id/events", async (request, reply) => {
    const sessionId = await findSession(request, reply);
    if (sessionId === undefined) return reply;
    const events = await store.readEvents({ limit: MAX_EVENTS, sessionId });
    return {
      events: events.map(({ atMs, kind, worker, epoch, cause }) => ({
        atMs,
        kind,
        worker,
        epoch,
        cause: harmless(cause),
      })),
    } satisfies SessionEventsAnswer;
  });
  app.get("/dashboard/api/downloads", async () => {
    const rows = (await dashboard.downloads?.read()) ?? [];
    const total = rows.reduce((sum, { count }) => sum + count, 0);
    return {
      total,
      rows: rows
        .map(({ day, ide, id, version, count }) => ({ day, ide, artifact: id, version, count }))
        .reverse(),
    } satisfies DownloadsAnswer;
  });
  app.get("/dashboard/api/downloads.csv", (_request, reply) =>
    reply.redirect("/clients/downloads.csv"),
  );
  app.get("/dashboard/api/events", (request, reply) => {
    const { log } = request.query as { log?: string };
    const wanted = log !== undefined && dashboard.logs.isLog(log) ? log : undefined;
    if (!openFeed(reply, wanted)) return refuse(reply, "busy", BUSY);
    return reply;
  });

  function openFeed(reply: FastifyReply, log: Parameters<Feed["open"]>[1]): boolean {
    if (!feed.open(reply.raw, log)) return false;
    reply.hijack();
    reply.raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      // nginx in front of us would gather events.
      "x-accel-buffering": "no",
    });
    reply.raw.flushHeaders();
    return true;
  }

  /** The session whose id begins with `:id`; undefined when the request has been answered. */
  async function findSession(request: FastifyRequest, reply: FastifyReply) {
    const { id } = request.params as { id: string };
    const found = id.length >= SHOWN_ID_CHARS ? await snapshots.findSessions(id) : [];
    if (found.length === 1) return found[0];
    refuse(reply, "path", NOT_FOUND);
    return undefined;
  }
}

function isRange(text: string): text is HistoryRange {
  return Object.hasOwn(RANGES, text);
}

// --- logs ---

function addLogs({ app, dashboard, refuse }: Needs): void {
  const { logs } = dashboard;
  app.get("/dashboard/api/logs", () => logs.list());
  const download = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { id } = request.params as { id: string };
    const log = id.replace(/\.log$/, "");
    if (!logs.isLog(log)) return refuse(reply, "path", NOT_FOUND);
    reply.headers({
      "content-type": "text/plain; charset=utf-8",
      "content-disposition": `attachment; filename="${log}.log"`,
    });
    const file = await logs.openFile(log);
    if (file !== undefined) return reply.send(file.createReadStream());
    const { lines } = await logs.tail(log, Number.POSITIVE_INFINITY);
    return reply.send(lines.map((line) => `${line}\n`).join(""));
  };
  app.get("/dashboard/api/logs/:id", download);

  // The older form of the notes.
  app.get("/logs", (_request, reply) => reply.redirect("/logs/"));
  app.get("/logs/", async (_request, reply) => {
    const list = (await logs.list()).logs.map(
      ({ name, bytes }) =>
        `<li><a href="${name}">${name}</a>${bytes === null ? "" : ` ${bytes} bytes`}, <a href="${name}?view">view</a></li>`,
    );
    return reply
      .header("content-type", "text/html; charset=utf-8")
      .send(
        `<!doctype html><html lang="en"><meta charset="utf-8"><title>Logs</title><link rel="stylesheet" href="/dashboard/dashboard.css"><main><h1>Logs</h1><ul>${list.join("")}</ul></main></html>`,
      );
  });
  app.get("/logs/:id", async (request, reply) => {
    const { id } = request.params as { id: string };
    const log = id.replace(/\.log$/, "");
    if (!Object.hasOwn(request.query as object, "view")) return download(request, reply);
    if (!logs.isLog(log)) return refuse(reply, "path", NOT_FOUND);
    const { lines } = await logs.tail(log, DEFAULT_LINES);
    return reply
      .header("content-type", "text/plain; charset=utf-8")
      .send(lines.map((line) => `${line}\n`).join(""));
  });
}

// --- what an operator may do ---

const WORKER_ACTIONS = ["drain", "suspend", "resume"] as const;

function addCommands({ app, dashboard, store, clock, log, refuse }: Needs): void {
  const { snapshots } = dashboard;

  async function run(
    request: FastifyRequest,
    to: Parameters<typeof sendCommand>[1],
    command: EdgeCommand,
  ): Promise<CommandReply> {
    const address = String(request.headers["x-real-ip"] ?? request.ip);
    log.warn({ command: command.kind, workerId: to, address }, "an operator commands");
    const answer = await sendCommand({ store, clock }, to, command);
    if (answer !== "no answer") return answer;
    return { outcome: "no answer", message: "the worker did not answer; it may hang or be gone" };
  }

  for (const kind of WORKER_ACTIONS) {
    app.post(`/dashboard/api/workers/:id/${kind}`, async (request, reply) => {
      const { id } = request.params as { id: string };
      const { membership } = await snapshots.read();
      const isKnown = membership.members.some(
        (member) => member.kind === "worker" && member.id === id,
      );
      if (!isWorkerId(id) || !isKnown) return refuse(reply, "path", NOT_FOUND);
      return run(request, id, { kind });
    });
  }
  app.post("/dashboard/api/sessions/:id/end", async (request, reply) => {
    const { id } = request.params as { id: string };
    const found = id.length >= SHOWN_ID_CHARS ? await snapshots.findSessions(id) : [];
    const [sessionId] = found;
    const record =
      sessionId === undefined ? undefined : await store.findSession(sessionId as never);
    if (found.length !== 1 || record === undefined) return refuse(reply, "path", NOT_FOUND);
    return run(request, record.owner, { kind: "end-session", sessionId: record.id });
  });
}
