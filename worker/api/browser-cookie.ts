/** The cookie that binds a sign-in at an identity provider to the browser that began it. */
import { randomBytes } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { readCookie } from "../../shared/net/cookies.ts";
import { isSameProof } from "../../shared/net/edge-headers.ts";
import { formOf } from "../http/bodies.ts";
import { sessionCookie } from "../http/cookies.ts";
import type { Origins } from "../http/origins.ts";

interface Deps {
  readonly origins: Pick<Origins, "isSecure" | "trustsCookiesOf">;
}

const NAME = "ct-sign-in";
const BYTES = 24;

/** The browser's name, from its cookie. */
export function browserOf({ origins }: Deps, { raw }: FastifyRequest): string | undefined {
  const value = readCookie(raw.headers.cookie, sessionCookie(NAME, origins.isSecure(raw)).name);
  return value !== undefined && /^[\w-]{32}$/.test(value) ? value : undefined;
}

/** The browser's name, a new one if it has none. */
export function nameBrowser(deps: Deps, request: FastifyRequest, reply: FastifyReply): string {
  const browser = browserOf(deps, request) ?? randomBytes(BYTES).toString("base64url");
  const cookie = sessionCookie(NAME, deps.origins.isSecure(request.raw));
  reply.header("set-cookie", cookie.set(browser));
  return browser;
}

/** The browser whose own form this is: it was sent by a page of ours, with the cookie's value in its field `csrf`. */
export function browserOfForm(deps: Deps, request: FastifyRequest): string | undefined {
  const browser = browserOf(deps, request);
  const given = formOf(request).get("csrf");
  const isOwn =
    browser !== undefined &&
    isSameProof(typeof given === "string" ? given : "", browser) &&
    deps.origins.trustsCookiesOf(request.raw);
  return isOwn ? browser : undefined;
}
