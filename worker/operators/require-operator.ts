/** Requires the operator's credentials (HTTP Basic) for a route. */
import type { IncomingMessage } from "node:http";
import type { FastifyReply } from "fastify";
import { nodeAddress } from "../../shared/net/forwarding.ts";
import { plainAddress } from "../../shared/net/networks.ts";
import { type Refuse, textResponse } from "../http/responses.ts";
import type { Credentials } from "./credentials.ts";

/** The operator's name; undefined when the request was refused and its response sent. */
export type RequireOperator = (reply: FastifyReply) => Promise<string | undefined>;

const CHALLENGE = 'Basic realm="CodeTogether edge", charset="UTF-8"';
const UNAUTHORIZED = textResponse(401, "Sign in as the operator of this server");
const TOO_MANY = textResponse(429, "Too many failed attempts; try again later");

export function createRequireOperator(deps: {
  readonly credentials: Pick<Credentials, "check">;
  readonly refuse: Refuse;
}): RequireOperator {
  return async (reply) => {
    const { raw } = reply.request;
    const verdict = await deps.credentials.check(raw.headers.authorization, addressOf(raw));
    switch (verdict.outcome) {
      case "granted":
        return verdict.user;
      case "refused":
        deps.refuse(reply.header("www-authenticate", CHALLENGE), "credentials", UNAUTHORIZED);
        return undefined;
      case "flood":
        reply.header("retry-after", String(verdict.retryAfterS));
        deps.refuse(reply, "credentials-flood", TOO_MANY);
        return undefined;
    }
  };
}

/** The client's address from the balancer's X-Real-IP; unauthenticated headers have been stripped (worker/server/server.ts). */
export function addressOf({ headers, socket }: IncomingMessage): string {
  const realIp = headers["x-real-ip"];
  const forwarded = typeof realIp === "string" ? nodeAddress(realIp) : undefined;
  return forwarded ?? plainAddress(socket.remoteAddress);
}
