/**
 * Requires an operator for a route: the password of the settings (HTTP Basic), one of their tokens (Bearer), or a sign-in at an
 * identity provider (a cookie).
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply } from "fastify";
import { BoundedMap } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { nodeAddress } from "../../shared/net/forwarding.ts";
import { plainAddress } from "../../shared/net/networks.ts";
import type { Permission } from "../../shared/settings/operator-roles.ts";
import type { Activity } from "../activity/recorder.ts";
import { type Refuse, textResponse } from "../http/responses.ts";
import type { Credentials } from "./credentials.ts";
import { missing, type Operator } from "./operator.ts";

/**
 * With `permission`, or with any if that is undefined. Resolves with undefined when the request was refused and its response
 * sent.
 */
export type RequireOperator = (
  reply: FastifyReply,
  permission: Permission | undefined,
) => Promise<Operator | undefined>;

const CHALLENGE = 'Basic realm="CodeTogether edge", charset="UTF-8"';
const UNAUTHORIZED = textResponse(401, "Sign in as the operator of this server");
const TOO_MANY = textResponse(429, "Too many failed attempts; try again later");
/** Where a browser is asked for the password, whatever else there is. */
export const PASSWORD_PATH = "/dashboard/password";

export function createRequireOperator(deps: {
  readonly credentials: Pick<Credentials, "check">;
  /** Sign-in at an identity provider. */
  readonly operatorLogin: {
    operatorOf(req: IncomingMessage): Promise<Operator | undefined>;
    pageOf(req: IncomingMessage): string | undefined;
  };
  readonly activity: Pick<Activity, "record">;
  readonly clock: Pick<Clock, "nowMs">;
  readonly refuse: Refuse;
}): RequireOperator {
  const { credentials, operatorLogin, activity, clock, refuse } = deps;
  const seen = createSeenOperators(clock);

  async function find(reply: FastifyReply): Promise<Operator | undefined> {
    const { raw } = reply.request;
    const { authorization } = raw.headers;
    const signedIn = authorization === undefined ? await operatorLogin.operatorOf(raw) : undefined;
    if (signedIn !== undefined) return signedIn;
    const verdict = await credentials.check(authorization, addressOf(raw));
    switch (verdict.outcome) {
      case "granted":
        recordFirst(raw, verdict.operator);
        return verdict.operator;
      case "refused":
        // A browser asks without credentials first.
        if (authorization !== undefined) recordOperatorRefusal(activity, raw, "credentials");
        refuseStranger(reply);
        return undefined;
      case "flood":
        reply.header("retry-after", String(verdict.retryAfterS));
        refuse(reply, "credentials-flood", TOO_MANY);
        return undefined;
    }
  }

  /** Each request has the password or the token: one of an hour is recorded. */
  function recordFirst(req: IncomingMessage, { name, way }: Operator): void {
    const address = addressOf(req);
    if (!seen.isFirst(`${way} ${address} ${name}`)) return;
    activity.record({ kind: "operator.sign-in", actor: { type: "operator", name, way, address } });
  }

  /** A browser that may sign in elsewhere is not asked for a password, unless it wants to be. */
  function refuseStranger(reply: FastifyReply): void {
    const { raw } = reply.request;
    const { headers, url = "" } = raw;
    const page = headers.authorization === undefined ? operatorLogin.pageOf(raw) : undefined;
    // Elsewhere too a browser sends the password only when it is asked for it there (RFC 7617 §2.2).
    const isPage =
      headers["sec-fetch-mode"] === "navigate" &&
      url.startsWith("/dashboard") &&
      !url.startsWith(PASSWORD_PATH);
    if (page !== undefined && isPage) {
      void reply.redirect(page, 302);
      return;
    }
    const isScript = page !== undefined && headers["sec-fetch-dest"] === "empty";
    if (!isScript) reply.header("www-authenticate", CHALLENGE);
    refuse(reply, "credentials", UNAUTHORIZED);
  }

  return async (reply, permission) => {
    const operator = await find(reply);
    if (operator === undefined || permission === undefined) return operator;
    if (operator.permissions.includes(permission)) return operator;
    recordOperatorRefusal(activity, reply.request.raw, "permission", operator);
    refuse(reply, "permission", textResponse(403, missing(permission)));
    return undefined;
  };
}

/** `cause`: of the refusal. `operator`: if it is known who it is. */
export function recordOperatorRefusal(
  activity: Pick<Activity, "record">,
  req: IncomingMessage,
  cause: string,
  { name, way }: Partial<Pick<Operator, "name" | "way">> = {},
): void {
  const actor = { type: "operator", name, way, address: addressOf(req) } as const;
  activity.record({ kind: "operator.refused", actor, details: { cause } });
}

const SEEN_MS = 3_600_000;
const MAX_SEEN = 1000;

function createSeenOperators(clock: Pick<Clock, "nowMs">) {
  /** Until when each is known, the first one first. */
  const seen = new BoundedMap<string, number>(MAX_SEEN);
  return {
    isFirst(who: string): boolean {
      const nowMs = clock.nowMs();
      if ((seen.get(who) ?? Number.NEGATIVE_INFINITY) > nowMs) return false;
      seen.set(who, nowMs + SEEN_MS);
      return true;
    },
  };
}

/** The client's address from the balancer's X-Real-IP; unauthenticated headers have been stripped (worker/server/server.ts). */
export function addressOf({ headers, socket }: IncomingMessage): string {
  const realIp = headers["x-real-ip"];
  const forwarded = typeof realIp === "string" ? nodeAddress(realIp) : undefined;
  return forwarded ?? plainAddress(socket.remoteAddress);
}
