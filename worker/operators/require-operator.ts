/**
 * The door in front of what is for operators only: lets a request with the right credentials pass, and answers any other.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply } from "fastify";
import { nodeAddress } from "../../shared/net/forwarding.ts";
import { plainAddress } from "../../shared/net/networks.ts";
import { type Refuse, textResponse } from "../http/responses.ts";
import type { Credentials } from "./credentials.ts";

/** The operator's name, or undefined when the request has been answered. */
export type RequireOperator = (reply: FastifyReply) => Promise<string | undefined>;

const CHALLENGE = 'Basic realm="CodeTogether edge", charset="UTF-8"';
const UNAUTHORIZED = textResponse(401, "Sign in as the operator of this server");
const TOO_MANY = textResponse(429, "Too many failed attempts; try again later");

export function createRequireOperator(needs: {
  readonly credentials: Pick<Credentials, "check">;
  readonly refuse: Refuse;
}): RequireOperator {
  return async (reply) => {
    const { raw } = reply.request;
    const verdict = await needs.credentials.check(raw.headers.authorization, addressOf(raw));
    switch (verdict.outcome) {
      case "granted":
        return verdict.user;
      case "refused":
        needs.refuse(reply.header("www-authenticate", CHALLENGE), "credentials", UNAUTHORIZED);
        return undefined;
      case "flood":
        reply.header("retry-after", String(verdict.retryAfterS));
        needs.refuse(reply, "credentials-flood", TOO_MANY);
        return undefined;
    }
  };
}

/** The client's address as the balancer says; fields that no balancer vouches for are gone (worker/server/server.ts). */
export function addressOf({ headers, socket }: IncomingMessage): string {
  const said = headers["x-real-ip"];
  const named = typeof said === "string" ? nodeAddress(said) : undefined;
  return named ?? plainAddress(socket.remoteAddress);
}
