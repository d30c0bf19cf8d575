/** Names of the files in the data directory that a balancer keeps of its store. */
import { createHash } from "node:crypto";
import type { Settings } from "../../shared/settings/read-settings.ts";

/** Identifies the store: edges that share a data directory have files of their own. */
export function storeNameOf({
  redisUrl,
  redisPrefix,
}: Pick<Settings, "redisUrl" | "redisPrefix">): string {
  return redisUrl === undefined ? "embedded" : `${redisUrl}\n${redisPrefix}`;
}

export function storeFileName(storeName: string, extension: "snapshot" | "acme"): string {
  const digest = createHash("sha256").update(storeName).digest("hex").slice(0, 8);
  return `balancer-${digest}.${extension}`;
}
