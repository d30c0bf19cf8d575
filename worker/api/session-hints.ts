/**
 * Hints of the policy to our own page (worker/web/client), which asks for them when a guest enters a session. No other client asks, and
 * nothing depends on the answer: contents are end-to-end encrypted, and the host decides about every change.
 */
import type { FastifyInstance } from "fastify";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import {
  infoResponse,
  misdirectedResponse,
  type Refuse,
  replyWith,
  textResponse,
} from "../http/responses.ts";
import type { Tokens } from "../login/tokens.ts";
import { addressOf } from "../operators/require-operator.ts";
import type { Access } from "../policy/access.ts";
import { hostOf } from "../policy/host.ts";
import type { Registry } from "../sessions/registry.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly registry: Pick<Registry, "claim">;
  readonly tokens: Pick<Tokens, "verifyRoom">;
  readonly nameOwner: BalancerAuth["nameOwner"];
  readonly access: Pick<Access, "isReadOnlyHinted">;
  readonly refuse: Refuse;
}

const FORBIDDEN = textResponse(403, "Forbidden resource");
const NOT_FOUND = infoResponse(404, "RoomNotFound", "Room not found");

export function addHintRoutes({ app, registry, tokens, nameOwner, access, refuse }: Deps): void {
  // The room token also leads balancers to the session's worker.
  app.get("/api/session/hints", async ({ raw }, reply) => {
    const text = raw.headers["x-oct-jwt"];
    const token = typeof text === "string" ? await tokens.verifyRoom(text) : undefined;
    if (token === undefined) return refuse(reply, "room-token", FORBIDDEN);
    const { sessionId, user, host } = token;
    const claim = await registry.claim(sessionId);
    if (claim.outcome === "elsewhere") {
      const owner = nameOwner(raw, claim.owner);
      return replyWith(reply, misdirectedResponse({ sessionId, owner, epoch: claim.epoch }));
    }
    if (claim.outcome !== "here") return refuse(reply, "session", NOT_FOUND);
    const readOnly =
      !host && (await access.isReadOnlyHinted(user, addressOf(raw), hostOf(claim.session)));
    return { readOnly };
  });
}
