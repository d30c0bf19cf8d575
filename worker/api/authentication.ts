/**
 * Who makes a request: the user token in `x-oct-jwt`, else in the cookie.
 */
import type { IncomingMessage } from "node:http";
import { readTokenCookie } from "../http/cookies.ts";
import type { Origins } from "../http/origins.ts";
import type { SignInWay } from "../login/form-provider.ts";
import type { Tokens, UserToken } from "../login/tokens.ts";

export interface Authentication {
  /** The checked token of whoever made the request; undefined when there is none that counts. */
  userOf(req: Pick<IncomingMessage, "headers">): Promise<UserToken | undefined>;
}

export function createAuthentication(needs: {
  readonly tokens: Pick<Tokens, "verifyUser">;
  readonly origins: Pick<Origins, "trustsCookiesOf">;
  /** Ways to sign in that are on; a token that was got in another way counts no more. */
  readonly ways: readonly Pick<SignInWay, "authProvider" | "recognize">[];
}): Authentication {
  const { tokens, origins } = needs;
  const wayOf = new Map(needs.ways.map((way) => [way.authProvider, way]));

  function tokenOf(req: Pick<IncomingMessage, "headers">): string | undefined {
    const field = req.headers["x-oct-jwt"];
    if (typeof field === "string") return field;
    return origins.trustsCookiesOf(req) ? readTokenCookie(req.headers.cookie) : undefined;
  }

  return {
    async userOf(req) {
      const token = tokenOf(req);
      if (token === undefined || token === "") return undefined;
      const checked = await tokens.verifyUser(token);
      if (checked === undefined) return undefined;
      const user = wayOf.get(checked.user.authProvider ?? "")?.recognize(checked.user);
      return user && { ...checked, user };
    },
  };
}
