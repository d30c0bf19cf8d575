/** What Redis says of itself (INFO): a store does not tell, because another one has nothing of it. */
import { systemClock } from "../../../shared/base/clock.ts";
import { describeError } from "../../../shared/base/errors.ts";
import { inTime, LATE } from "../../../shared/base/time-limit.ts";
import { createLink } from "../../../shared/store/redis/connection/link.ts";
import { parseRedisUrl } from "../../../shared/store/redis/connection/target.ts";

export type RedisInfo =
  | { readonly outcome: "read"; readonly fields: Readonly<Record<string, string>> }
  | { readonly outcome: "failed"; readonly detail: string };

const WAIT_MS = 3000;

/** Never rejects. */
export async function readRedisInfo(deps: {
  readonly url: string;
  readonly ca: string | undefined;
  readonly prefix: string;
}): Promise<RedisInfo> {
  let fault = "no response";
  let connected = (): void => {};
  const ready = new Promise<void>((resolve) => {
    connected = resolve;
  });
  const link = createLink({
    target: parseRedisUrl(deps.url),
    ca: deps.ca,
    prefix: deps.prefix,
    name: "verify",
    clock: systemClock,
    onConnected: connected,
    onFault({ reason }) {
      fault = reason;
    },
  });
  try {
    if ((await inTime(ready, WAIT_MS)) === LATE) return { outcome: "failed", detail: fault };
    return { outcome: "read", fields: parseInfo(await link.redis.info()) };
  } catch (error) {
    return { outcome: "failed", detail: describeError(error) };
  } finally {
    await link.close();
  }
}

/** Pure. */
export function parseInfo(text: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0 && !line.startsWith("#")) fields[line.slice(0, colon)] = line.slice(colon + 1);
  }
  return fields;
}
