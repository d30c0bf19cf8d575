/**
 * A worker's whole server, with real sessions and a real embedded store, and an HTTP client for it.
 */

import { Agent, request } from "undici";
import { onTestFinished } from "vitest";
import type { Clock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import { LINK_VERSION } from "../../../shared/link/frames.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { edgeProof } from "../../../shared/net/edge-headers.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import type { RoleGroups } from "../../../shared/settings/operator-roles.ts";
import type { OperatorToken } from "../../../shared/settings/operator-tokens.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import type { Store } from "../../../shared/store/store.ts";
import type { Activity } from "../../../worker/activity/recorder.ts";
import { type Api, createApi } from "../../../worker/api/api.ts";
import { createBalancerAuth } from "../../../worker/balancers/balancer-auth.ts";
import {
  createOutageReports,
  type OutageReports,
} from "../../../worker/balancers/outage-reports.ts";
import { openClients } from "../../../worker/clients/clients.ts";
import { openDashboard } from "../../../worker/dashboard/dashboard.ts";
import { createOrigins } from "../../../worker/http/origins.ts";
import { basePathOf } from "../../../worker/http/routes.ts";
import type { ProviderClient } from "../../../worker/login/identity/provider-client.ts";
import { createSignInRecords } from "../../../worker/login/identity/sign-in-records.ts";
import type { Tokens } from "../../../worker/login/tokens.ts";
import { createCredentials } from "../../../worker/operators/credentials.ts";
import type { createAccess } from "../../../worker/policy/access.ts";
import { createWorkerServer } from "../../../worker/server/server.ts";
import { createHandovers } from "../../../worker/session-moves/handover.ts";
import type { Registry } from "../../../worker/sessions/registry.ts";
import { worker as workerRecord } from "../../contract/store.ts";
import { type StoreFixture, startStore } from "../../support/embedded-store.ts";
import { WORKER_DEFAULTS } from "../../support/settings.ts";
import { until } from "../../support/until.ts";
import { rawPeer } from "../sessions/fixture.ts";
import type { RawPeer } from "../sessions/raw-peer.ts";
import { createWorkerParts, KEYS, OPEN_FENCE } from "../worker-parts.ts";

export const API_KEY = "an api key for tests";

export interface WorkerOptions {
  readonly store?: StoreFixture;
  readonly id?: string;
  readonly clock?: Clock;
  readonly loginSimple?: boolean;
  readonly loginPageUrl?: string;
  readonly loginSuccessUrl?: string;
  readonly loginRedirects?: readonly string[];
  readonly identityProviders?: readonly ProviderClient[];
  readonly recheckMs?: number;
  readonly operatorRoles?: RoleGroups;
  readonly operatorTokens?: readonly OperatorToken[];
  readonly loginApiKey?: string | undefined;
  readonly loginUnverifiedEmail?: "drop" | "keep";
  readonly activity?: Activity;
  readonly policy?: Parameters<typeof createAccess>[0]["policy"];
  /** Scripts of the browser client; without it its page has none. */
  readonly clientFolder?: URL;
  readonly shownPolicy?: Parameters<typeof openDashboard>[0]["policy"];
  readonly serverUrl?: string;
  readonly meetingUrl?: string;
  readonly protocolVersion?: string;
  readonly corsAllowedOrigins?: readonly string[];
  readonly maxSessionsPerUser?: number;
  readonly maxPeersPerSession?: number;
  readonly pollTimeoutMs?: number;
  readonly headTimeoutMs?: number;
  readonly maxHeadBytes?: number;
  /** Folder with server.log, access.log and error.log. */
  readonly logDir?: string;
  /** Folder with plugins; without it none are offered. */
  readonly clientsDir?: string;
  /** Default: a folder below the one with plugins. */
  readonly dataDir?: string;
  /** The password of the operator `ops`. */
  readonly operatorPassword?: string;
  /** Whether balancers may open links; default true. */
  readonly hasLinks?: boolean;
  /** Serves `/metrics` on the public port. */
  readonly metricsPage?: () => Promise<string>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed when its content type is JSON, else the text. */
  readonly body: unknown;
}

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export interface Worker {
  readonly url: string;
  readonly port: number;
  readonly id: WorkerId;
  readonly tag: WorkerTag;
  /** `x-ct-edge` as a balancer sends it. */
  readonly proof: string;
  readonly store: Store;
  readonly storeFixture: StoreFixture;
  readonly tokens: Tokens;
  readonly registry: Registry;
  readonly api: Api;
  readonly outageReports: OutageReports;
  /** Its own record, the only member. */
  readonly record: WorkerRecord;
  readonly counters: Counters;
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
  /** Sends a form. */
  send(path: string, form: unknown): Promise<Answer>;
  /** Begins a sign-in and resolves with its poll token. */
  begin(): Promise<string>;
  /** A user token, by simple login. */
  signIn(name?: string): Promise<string>;
  /** A session whose host is connected. */
  openSession(userToken?: string): Promise<{ sessionId: string; host: RawPeer }>;
  /** Stops it as a process does. */
  stop(): Promise<void>;
}

export async function startWorker(options: WorkerOptions = {}): Promise<Worker> {
  const all = await createWorkerParts({
    ...options,
    resumeKey: Buffer.alloc(32),
    handoverInbox: { take: () => undefined },
    settings: {
      ...WORKER_DEFAULTS,
      maxSessionsPerUser: options.maxSessionsPerUser ?? 20,
      maxPeersPerSession: options.maxPeersPerSession ?? 50,
      maxBufferBytes: 1024 * 1024,
      maxMessageBytes: 1024 * 1024,
      maxMessagesPerSecond: 500,
      maxAdmissionsPerSecond: 200,
    },
  });
  const { storeFixture, self, registry, access, sockets, ...parts } = all;
  const { store, clock, counters, tokens, tag } = parts;
  const { id } = self;
  const serverUrl = options.serverUrl === undefined ? undefined : new URL(options.serverUrl);
  const origins = createOrigins({
    serverOrigin: serverUrl?.origin,
    allowedOrigins: options.corsAllowedOrigins ?? [],
  });
  let url = "";
  const balancerAuth = createBalancerAuth({
    edgeKeys: onlyKey(KEYS.edge),
    self,
    urlOf: (id) => (id === self.id ? url : undefined),
  });
  const clients =
    options.clientsDir === undefined
      ? undefined
      : openClients({
          ...parts,
          id,
          settings: {
            ...WORKER_DEFAULTS,
            clientsDir: options.clientsDir,
            dataDir: options.dataDir ?? `${options.clientsDir}/no-such-folder`,
            serverUrl: options.serverUrl,
          },
        });
  const credentials = createCredentials({
    ...parts,
    tokens: options.operatorTokens ?? [],
    settings: {
      ...WORKER_DEFAULTS,
      dashboardUser: "ops",
      dashboardPassword: options.operatorPassword ?? "operator",
    },
  });
  const dashboard = openDashboard({
    settings: { ...WORKER_DEFAULTS, logDir: options.logDir, storeSocket: "embedded" },
    self,
    leadership: { isLeading: false },
    store,
    clusterUsage: async () => ({ series: [], people: new Set() }),
    deferredUsage: async () => ({ series: [], people: new Set() }),
    downloads: clients?.downloads,
    policy: options.shownPolicy,
    license: { license: undefined, publicKey: undefined },
    clock: parts.clock,
    log: parts.log,
  });
  const signInRecords = createSignInRecords({
    ...parts,
    keys: onlyKey(KEYS.signIn),
    recheckMs: options.recheckMs ?? 0,
  });
  const api = await createApi({
    ...parts,
    clients,
    metricsPage: options.metricsPage,
    credentials,
    nameOwner: balancerAuth.nameOwner,
    dashboard,
    license: { refusal: () => undefined },
    access,
    identityProviders: options.identityProviders ?? [],
    signInRecords,
    operatorRoles: options.operatorRoles,
    operatorProvider: options.operatorRoles && options.identityProviders?.[0]?.provider.id,
    registry,
    origins,
    settings: {
      ...WORKER_DEFAULTS,
      serverOwner: "Test Inc.",
      loginUnverifiedEmail: options.loginUnverifiedEmail ?? "drop",
      protocolVersion: options.protocolVersion ?? "0.3.1",
      serverUrl: options.serverUrl,
      meetingUrl: options.meetingUrl,
      loginSimple: options.loginSimple ?? true,
      loginPageUrl: options.loginPageUrl,
      loginSuccessUrl: options.loginSuccessUrl,
      loginRedirects: options.loginRedirects ?? [],
      loginApiKey: "loginApiKey" in options ? options.loginApiKey : API_KEY,
    },
    ...(options.clientFolder !== undefined && { clientFolder: options.clientFolder }),
    ...(options.pollTimeoutMs !== undefined && { pollTimeoutMs: options.pollTimeoutMs }),
  });
  const proof = edgeProof(KEYS.edge, self.id, self.incarnation);
  const outageReports = createOutageReports(clock);
  const known: WorkerRecord[] = [];
  const server = createWorkerServer({
    handovers: createHandovers({ handoverInbox: { put: () => {} }, registry, isOpen: () => true }),
    outageReports,
    members: { edgeKeys: onlyKey(KEYS.edge), view: { workers: known, fresh: true }, store },
    fence: OPEN_FENCE,
    ...parts,
    api,
    sockets,
    registry,
    origins,
    balancerAuth,
    basePath: basePathOf(serverUrl),
    hasLinks: options.hasLinks ?? true,
    maxHeadBytes: options.maxHeadBytes ?? 32_768,
    ...(options.headTimeoutMs !== undefined && { headTimeoutMs: options.headTimeoutMs }),
  });
  const port = await server.listen(0, "127.0.0.1");
  url = `http://127.0.0.1:${port}`;
  const record: WorkerRecord = {
    ...workerRecord(id, self.incarnation),
    url,
    statusUrl: url,
    linkVersion: options.hasLinks === false ? undefined : LINK_VERSION,
  };
  known.push(record);
  await store.announce(record);
  const agent = new Agent();
  let stopped: Promise<void> | undefined;

  async function close(): Promise<void> {
    dashboard.feed.close();
    const closed = server.close();
    api.releasePolls();
    await sockets.close();
    await server.closeLinks();
    await registry.close();
    await closed;
    await api.close();
    await dashboard.close();
    await clients?.close();
  }

  const worker: Worker = {
    url,
    port,
    id,
    tag,
    proof,
    store,
    storeFixture,
    tokens,
    registry,
    api,
    outageReports,
    record,
    counters,
    async ask(method, path, { headers, body, signal } = {}) {
      const answer = await request(url + path, {
        method: method as "GET",
        dispatcher: agent,
        ...(headers && { headers }),
        ...(body !== undefined && { body }),
        ...(signal && { signal }),
      });
      const text = await answer.body.text();
      const isJson = String(answer.headers["content-type"]).startsWith("application/json");
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: isJson && text !== "" ? JSON.parse(text) : text,
      };
    },
    send: (path, form) =>
      worker.ask("POST", path, {
        headers: { "content-type": "application/json" },
        body: JSON.stringify(form),
      }),
    async begin() {
      const { body } = await worker.ask("POST", "/api/login/initial");
      return (body as { pollToken: string }).pollToken;
    },
    async signIn(user = "Somebody") {
      const token = await worker.begin();
      await worker.send("/api/login/simple", { token, user });
      const { body } = await worker.ask("POST", `/api/login/poll/${token}`);
      return (body as { loginToken: string }).loginToken;
    },
    async openSession(userToken) {
      const headers = { "x-oct-jwt": userToken ?? (await worker.signIn("Host")) };
      const { body } = await worker.ask("POST", "/api/session/create", { headers });
      const { roomId, roomToken } = body as { roomId: string; roomToken: string };
      return { sessionId: roomId, host: await rawPeer({ url, roomToken }).ready() };
    },
    stop() {
      stopped ??= close();
      return stopped;
    },
  };
  onTestFinished(async () => {
    await worker.stop();
    await agent.destroy();
  });
  return worker;
}

/** Two workers that share a store. */
export async function startTwoWorkers(
  options: Omit<WorkerOptions, "store" | "id"> = {},
): Promise<[Worker, Worker]> {
  const store = await startStore(options.clock);
  return [
    await startWorker({ ...options, store, id: "worker-1" }),
    await startWorker({ ...options, store, id: "worker-2" }),
  ];
}

/** Resolves when `count` long polls wait. */
export async function pollsWait(worker: Worker, count: number): Promise<void> {
  await until(`${count} polls wait`, () => worker.api.waitingPolls === count);
}

/** The response, and by how much the counter of refused requests rose. */
export async function refusal(
  worker: Worker,
  act: () => Promise<Answer>,
): Promise<Answer & { counted: number }> {
  const before = worker.counters.value("worker.requests_refused");
  const answer = await act();
  return { ...answer, counted: worker.counters.value("worker.requests_refused") - before };
}
