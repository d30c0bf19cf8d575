/**
 * The routes below /dashboard and /logs: the page, its JSON, its events, and operator commands (command-routes.ts). Everything
 * requires the operator's credentials; commands are POSTs that only our own page can send.
 */

import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import { readEvents } from "../../shared/cluster/history.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Store } from "../../shared/store/store.ts";
import type { Activity } from "../activity/recorder.ts";
import { downloadsCsv } from "../clients/downloads.ts";
import { pageHeaders } from "../http/pages.ts";
import { type Refuse, sendCsv, textResponse } from "../http/responses.ts";
import { type Operator, operatorOf } from "../operators/operator.ts";
import {
  PASSWORD_PATH,
  type RequireOperator,
  recordOperatorRefusal,
} from "../operators/require-operator.ts";
import { addCommandRoutes } from "./command-routes.ts";
import type { Dashboard } from "./dashboard.ts";
import { describeMembers, describeOverview, describeSessions } from "./describe.ts";
import { type Feed, TOPICS } from "./feed.ts";
import { findListed, sessionOf } from "./find-session.ts";
import { RANGES, readHistory } from "./history.ts";
import { PAGE_FILES } from "./page-files.ts";
import { addPolicyRoutes } from "./policy-routes.ts";
import type {
  CommandReply,
  DownloadsResponse,
  EchoResponse,
  HistoryRange,
  OperatorResponse,
  SessionEventsResponse,
} from "./responses.ts";
import { addUsageRoutes } from "./usage-routes.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly dashboard: Dashboard;
  readonly requireOperator: RequireOperator;
  readonly operatorLogin: {
    signOut(operator: Operator, req: IncomingMessage): Promise<string>;
  };
  readonly refuse: Refuse;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly activity: Pick<Activity, "record">;
  readonly settings: { readonly serverUrl: string | undefined };
}

const NOT_FOUND = textResponse(404, "Not found");
const CROSS_SITE = textResponse(
  403,
  "Refused: only the dashboard's own page may send this request",
);
const BUSY = textResponse(503, "Too many dashboard pages are open; close one and try again");
const NOT_BUILT = textResponse(
  404,
  "The dashboard page is not built; run `npm run build` and start the programs in dist/",
);
const MAX_EVENTS = 200;
const DEFAULT_LINES = 1000;

export function addDashboardRoutes(deps: Deps): void {
  void deps.app.register(async (app) => {
    app.decorateRequest("operator", null);
    app.addHook("onRequest", async (request, reply) => {
      // No other origin may read any of it, unlike the public API.
      for (const name of Object.keys(reply.getHeaders())) {
        if (name.startsWith("access-control-")) reply.removeHeader(name);
      }
      reply.headers({ ...pageHeaders(deps.settings), "cache-control": "no-store" });
      // Commands say themselves what they need.
      const needed = request.method === "POST" ? undefined : "read";
      const operator = await deps.requireOperator(reply, needed);
      if (operator === undefined) return reply;
      request.setDecorator("operator", operator);
      // A program's token is in no browser, which could be made to send it.
      if (request.method === "POST" && operator.way !== "token" && !isOwnPage(request)) {
        recordOperatorRefusal(deps.activity, request.raw, "cross-site", operator);
        return deps.refuse(reply, "cross-site", CROSS_SITE);
      }
      return undefined;
    });
    const area = { ...deps, app };
    addPage(area);
    addViews(area);
    addUsageRoutes(area);
    addPolicyRoutes({
      ...area,
      findSession: (listed) => findListed(listed, deps.dashboard.snapshots),
    });
    addLogs(area);
    addOperator(area);
    addCommandRoutes({ ...area, snapshots: deps.dashboard.snapshots });
    // Unknown paths require the credentials too, so that without them nothing is learned about which paths exist.
    for (const path of ["/dashboard/*", "/logs/*"]) {
      app.all(path, (_request, reply) => deps.refuse(reply, "path", NOT_FOUND));
    }
  });
}

/**
 * Prevents cross-site request forgery: browsers attach Basic credentials also to requests of other sites. Those cannot set this
 * header, and browsers mark them (Fetch Metadata).
 */
function isOwnPage({ headers }: FastifyRequest): boolean {
  const site = headers["sec-fetch-site"];
  return headers["x-dashboard-request"] === "1" && (site === undefined || site === "same-origin");
}

/** A query parameter; undefined when it is missing or repeated. */
function queryOf(request: FastifyRequest, name: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[name];
  return typeof value === "string" ? value : undefined;
}

// --- the page ---

function addPage({ app, refuse }: Deps): void {
  // Relative, because a balancer may have stripped a path prefix.
  app.get("/dashboard", (_request, reply) => reply.redirect("dashboard/"));
  for (const file of PAGE_FILES) {
    app.get(`/dashboard/${file.path}`, (request, reply) => {
      const content = file.read();
      if (content === undefined) return refuse(reply, "path", NOT_BUILT);
      reply.headers({ "content-type": file.type, vary: "accept-encoding" });
      if (!/\bgzip\b/.test(String(request.headers["accept-encoding"]))) {
        return reply.send(content.plain);
      }
      return reply.header("content-encoding", "gzip").send(content.gzipped);
    });
  }
}

// --- the operator ---

function addOperator({ app, operatorLogin }: Deps): void {
  // The browser has been asked for the password by now.
  app.get(PASSWORD_PATH, (_request, reply) => reply.redirect("./"));
  app.get("/dashboard/api/operator", (request) => {
    const { name, way, permissions } = operatorOf(request);
    return { name, permissions, maySignOut: way === "provider" } satisfies OperatorResponse;
  });
  app.post("/dashboard/api/sign-out", async (request, reply) => {
    reply.header("set-cookie", await operatorLogin.signOut(operatorOf(request), request.raw));
    return { outcome: "done", message: "signed out" } satisfies CommandReply;
  });
}

// --- data ---

function addViews({ app, dashboard, store, refuse }: Deps): void {
  const { snapshots, feed, storeHealth } = dashboard;
  app.get("/dashboard/api/overview", async () =>
    describeOverview(await snapshots.read(), storeHealth()),
  );
  app.get("/dashboard/api/workers", async () => describeMembers(await snapshots.read()));
  app.get("/dashboard/api/sessions", async () =>
    describeSessions(await snapshots.read(), await snapshots.readSessions()),
  );
  app.get("/dashboard/api/check", async () => ({ checks: await dashboard.checks() }));
  app.get("/dashboard/api/echo", async () => {
    const { membership, isCurrent } = await snapshots.read();
    const workers = membership.members.filter(({ kind }) => kind === "worker").length;
    return { worker: dashboard.worker, workers: isCurrent ? workers : null } satisfies EchoResponse;
  });
  app.get("/dashboard/api/history", async (request, reply) => {
    const range = queryOf(request, "range") ?? "hour";
    return isRange(range) ? readHistory(store, range) : refuse(reply, "path", NOT_FOUND);
  });
  app.get("/dashboard/api/sessions/:id/events", async (request, reply) => {
    const sessionId = await findSession(request, reply);
    if (sessionId === undefined) return reply;
    const events = await readEvents(store, { limit: MAX_EVENTS, sessionId });
    return {
      events: events.map(({ atMs, kind, worker, epoch, cause }) => ({
        atMs,
        kind,
        worker,
        epoch,
        cause: escapeForTerminal(cause),
      })),
    } satisfies SessionEventsResponse;
  });
  app.get("/dashboard/api/downloads", async () => {
    const rows = (await dashboard.downloads?.read()) ?? [];
    const total = rows.reduce((sum, { count }) => sum + count, 0);
    return {
      total,
      rows: rows
        .map(({ day, ide, id, version, count }) => ({ day, ide, artifact: id, version, count }))
        .reverse(),
    } satisfies DownloadsResponse;
  });
  app.get("/dashboard/api/downloads.csv", async (_request, reply) =>
    sendCsv(reply, "downloads.csv", downloadsCsv((await dashboard.downloads?.read()) ?? [])),
  );
  app.get("/dashboard/api/events", (request, reply) => {
    const log = queryOf(request, "log");
    const names = queryOf(request, "topics")?.split(",");
    const isOpen = openFeed(reply, {
      log: log !== undefined && dashboard.logs.isLog(log) ? log : undefined,
      topics: TOPICS.filter((topic) => names?.includes(topic) ?? true),
      signIn: operatorOf(request).signIn,
    });
    return isOpen ? reply : refuse(reply, "busy", BUSY);
  });

  function openFeed(reply: FastifyReply, wanted: Parameters<Feed["open"]>[1]): boolean {
    if (!feed.open(reply.raw, wanted)) return false;
    reply.hijack();
    reply.raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      // nginx would buffer the events.
      "x-accel-buffering": "no",
    });
    reply.raw.flushHeaders();
    return true;
  }

  /** The session whose id starts with `:id`; undefined after refusing the request. */
  async function findSession(request: FastifyRequest, reply: FastifyReply) {
    const found = await sessionOf(request, snapshots);
    if (found === undefined) refuse(reply, "path", NOT_FOUND);
    return found;
  }
}

function isRange(text: string): text is HistoryRange {
  return Object.hasOwn(RANGES, text);
}

// --- logs ---

function addLogs({ app, dashboard, refuse }: Deps): void {
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

  // The older form: plain lists and files.
  app.get("/logs", (_request, reply) => reply.redirect("logs/"));
  app.get("/logs/", async (_request, reply) => {
    const list = (await logs.list()).logs.map(
      ({ name, bytes }) =>
        `<li><a href="${name}">${name}</a>${bytes === null ? "" : ` ${bytes} bytes`}, <a href="${name}?view">view</a></li>`,
    );
    return reply
      .header("content-type", "text/html; charset=utf-8")
      .send(
        `<!doctype html><html lang="en"><meta charset="utf-8"><title>Logs</title><link rel="stylesheet" href="../dashboard/dashboard.css"><main><h1>Logs</h1><ul>${list.join("")}</ul></main></html>`,
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
