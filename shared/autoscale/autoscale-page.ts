/**
 * `GET /autoscale` on the status port: the number of workers that are wanted, in the form that KEDA's metrics-api scaler
 * reads. Without a wish it responds 503, which autoscalers take as "no change".
 */
import { timingSafeEqual } from "node:crypto";
import { ONLY_GET, type StatusPage } from "../process/status-port.ts";
import type { WishState } from "./watch.ts";

/** `token`: what requests must carry as `Authorization: Bearer …`; undefined: nothing. */
export function autoscalePage(state: () => WishState, token: string | undefined): StatusPage {
  return ({ method, headers }) => {
    if (method !== "GET" && method !== "HEAD") return ONLY_GET;
    if (token !== undefined && !isAuthorized(headers.authorization, token)) {
      return {
        status: 401,
        body: { error: "send the token of CT_AUTOSCALE_TOKEN as Authorization: Bearer …" },
        headers: { "www-authenticate": "Bearer" },
      };
    }
    const now = state();
    if (now.wish === undefined) {
      return { status: 503, body: { error: "no number is known", why: now.why } };
    }
    return { status: 200, body: now.wish };
  };
}

function isAuthorized(field: string | undefined, token: string): boolean {
  const expected = Buffer.from(`bearer ${token}`);
  const sent = Buffer.from(field?.replace(/^bearer +/i, "bearer ") ?? "");
  return sent.length === expected.length && timingSafeEqual(sent, expected);
}
