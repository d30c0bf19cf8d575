/** Signatures of deliveries, as Standard Webhooks defines them (https://www.standardwebhooks.com). Pure. */
import { createHmac } from "node:crypto";

const PREFIX = "whsec_";
const MIN_BYTES = 24;
const MAX_BYTES = 64;

/** The key in a secret like `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`; undefined if it is not one. */
export function parseSecret(text: string): Buffer | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const base64 = text.slice(PREFIX.length);
  const key = Buffer.from(base64, "base64");
  const isBase64 = key.toString("base64").replace(/=+$/, "") === base64.replace(/=+$/, "");
  return isBase64 && key.length >= MIN_BYTES && key.length <= MAX_BYTES ? key : undefined;
}

/** The headers of a delivery. Receivers accept it if one of the signatures is right, so secrets can be rotated. */
export function signedHeaders(
  {
    id,
    body,
    atSeconds,
  }: { readonly id: string; readonly body: string; readonly atSeconds: number },
  secrets: readonly Buffer[],
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const hmac = createHmac("sha256", secret).update(`${id}.${atSeconds}.${body}`);
    return `v1,${hmac.digest("base64")}`;
  });
  return {
    "webhook-id": id,
    "webhook-timestamp": String(atSeconds),
    "webhook-signature": signatures.join(" "),
  };
}
