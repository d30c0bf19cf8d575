/** Authenticates a request's user: by the user token in `x-oct-jwt`, else in the cookie. */
import type { IncomingMessage } from "node:http";
import { readTokenCookie } from "../http/cookies.ts";
import type { Origins } from "../http/origins.ts";
import type { SignInWay } from "../login/form-provider.ts";
import type { Tokens, UserToken } from "../login/tokens.ts";

export type Authentication = ReturnType<typeof createAuthentication>;

export function createAuthentication(deps: {
  readonly tokens: Pick<Tokens, "verifyUser">;
  readonly origins: Pick<Origins, "trustsCookiesOf">;
  /** Sign-in methods that are on; tokens of other methods are no longer valid. */
  readonly ways: readonly Pick<SignInWay, "authProvider" | "recognize">[];
}) {
  const { tokens, origins } = deps;
  const wayOf = new Map(deps.ways.map((way) => [way.authProvider, way]));

  function tokenOf(req: Pick<IncomingMessage, "headers">): string | undefined {
    const header = req.headers["x-oct-jwt"];
    if (typeof header === "string") return header;
    return origins.trustsCookiesOf(req) ? readTokenCookie(req.headers.cookie) : undefined;
  }

  return {
    /** The verified user token of the request; undefined when there is no valid one. */
    async userOf(req: Pick<IncomingMessage, "headers">): Promise<UserToken | undefined> {
      const token = tokenOf(req);
      if (token === undefined || token === "") return undefined;
      const verified = await tokens.verifyUser(token);
      if (verified === undefined) return undefined;
      const user = wayOf.get(verified.user.authProvider ?? "")?.recognize(verified.user);
      return user && { ...verified, user };
    },
  };
}
