/** The policy in the dashboard: its state on this worker, and what it decides about somebody, as `ct-edge policy check` tells. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isSessionId, type SessionId } from "../../shared/base/ids.ts";
import { explainPolicy, guidanceOf, policyLines } from "../../shared/policy/explain.ts";
import {
  type Assumed,
  assume,
  findHost,
  findPerson,
  isAddress,
  parseGroups,
} from "../../shared/policy/find-person.ts";
import type { PolicyFile } from "../../shared/policy/policy-file.ts";
import { UnknownPersonError } from "../../shared/sign-ins/only-user.ts";
import type { Store } from "../../shared/store/store.ts";
import { type Refuse, textResponse } from "../http/responses.ts";
import type { PolicyCheckResponse, PolicyResponse } from "./responses.ts";

export type ShownPolicy = Pick<PolicyFile, "current" | "state" | "path" | "loadedMs">;

interface Deps {
  readonly app: FastifyInstance;
  readonly dashboard: { readonly worker: string; readonly policy: ShownPolicy | undefined };
  readonly store: Pick<Store, "findSignIns" | "findSession">;
  /** The only session whose listed id this is. */
  readonly findSession: (listed: string) => Promise<SessionId | undefined>;
  readonly refuse: Refuse;
}

const NO_POLICY = textResponse(
  404,
  "There is no policy (CT_POLICY): everyone who has signed in may host and ask to join",
);
const NO_SESSION = textResponse(404, "No session has this id, as the dashboard lists it");
const BAD_GROUPS = textResponse(400, "groups: write names with commas between them");
const BAD_ADDRESS = textResponse(400, "address: it must be an IP address");
const BAD_QUERY = textResponse(400, "Each parameter may be given once, with up to 500 characters");
const MAX_CHARS = 500;
const PARAMETERS = ["user", "room", "groups", "address"] as const;

export function addPolicyRoutes(deps: Deps): void {
  const { app, dashboard, refuse } = deps;
  const { worker } = dashboard;
  app.get("/dashboard/api/policy", () => describeState(dashboard.policy, worker));
  app.get("/dashboard/api/policy/check", async (request, reply) => {
    if (dashboard.policy === undefined) return refuse(reply, "path", NO_POLICY);
    const query = readQuery(request);
    if (query === undefined) return refuse(reply, "query", BAD_QUERY);
    return check(deps, dashboard.policy, query, reply);
  });
}

function describeState(policy: ShownPolicy | undefined, worker: string): PolicyResponse {
  if (policy === undefined) return { worker, policy: null };
  const { path, loadedMs, current, state } = policy;
  const { rules, warnings } = current.policy;
  return {
    worker,
    policy: {
      path,
      version: current.digest,
      rules: rules.length,
      warnings,
      guidance: guidanceOf(current.policy),
      problem: state.problem ?? null,
      loadedMs,
    },
  };
}

type Query = Readonly<Partial<Record<(typeof PARAMETERS)[number], string>>>;

/** A parameter that is empty counts as left out: forms send them all. */
function readQuery(request: FastifyRequest): Query | undefined {
  const given = request.query as Record<string, unknown>;
  const query: Record<string, string> = {};
  for (const name of PARAMETERS) {
    const value = given[name] ?? "";
    if (typeof value !== "string" || value.length > MAX_CHARS) return undefined;
    if (value.trim() !== "") query[name] = value.trim();
  }
  return query;
}

async function check(
  { store, findSession, refuse, dashboard }: Deps,
  { current }: ShownPolicy,
  { user, room, groups, address }: Query,
  reply: FastifyReply,
): Promise<PolicyCheckResponse | FastifyReply> {
  const assumed: Assumed = {
    groups: groups === undefined ? undefined : parseGroups(groups),
    address,
  };
  if (groups !== undefined && assumed.groups === undefined) {
    return refuse(reply, "query", BAD_GROUPS);
  }
  if (address !== undefined && !isAddress(address)) return refuse(reply, "query", BAD_ADDRESS);
  try {
    const person = user === undefined ? undefined : assume(await findPerson(store, user), assumed);
    const sessionId = room === undefined ? undefined : await findSession(room);
    const record = sessionId && isSessionId(sessionId) && (await store.findSession(sessionId));
    if (room !== undefined && (!record || record.state === "closed")) {
      return refuse(reply, "path", NO_SESSION);
    }
    const host = record ? await findHost(store, record) : undefined;
    const answer = explainPolicy(current, person, host);
    return { worker: dashboard.worker, ...answer, text: policyLines(answer, host?.name) };
  } catch (error) {
    if (!(error instanceof UnknownPersonError)) throw error;
    return refuse(reply, "path", textResponse(404, error.message));
  }
}
