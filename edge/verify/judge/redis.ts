/** Judges what Redis says of itself. Pure. */
import type { RedisInfo } from "../inside/redis-info.ts";
import { broken, type Finding, held, unknown } from "../model/finding.ts";

export const REDIS_IDS = ["redis-policy", "redis-persistence"] as const;

/** `embedded`: the store is that of one machine. */
export function judgeRedis(info: RedisInfo | "embedded" | "not asked"): Finding[] {
  if (info === "embedded") {
    return REDIS_IDS.map((id) => held(id, "there is no Redis: the store is embedded"));
  }
  if (info === "not asked") {
    return REDIS_IDS.map((id) =>
      unknown(id, "only Redis itself tells", "give --redis (CT_REDIS_URL)"),
    );
  }
  if (info.outcome === "failed") {
    return REDIS_IDS.map((id) =>
      unknown(
        id,
        `INFO failed: ${info.detail}`,
        "check --redis, and allow INFO to its user (+info)",
      ),
    );
  }
  return [judgePolicy(info.fields), judgePersistence(info.fields)];
}

type Fields = Readonly<Record<string, string>>;

function judgePolicy(fields: Fields): Finding {
  const id = "redis-policy";
  const policy = fields["maxmemory_policy"];
  if (policy === undefined)
    return unknown(id, "INFO does not name a policy", "check maxmemory-policy by hand");
  const limit = fields["maxmemory_human"] ?? fields["maxmemory"] ?? "unknown";
  const evicted = Number(fields["evicted_keys"] ?? 0);
  if (policy !== "noeviction") {
    const lost = evicted > 0 ? `; ${evicted} keys were evicted since its start` : "";
    return broken(
      id,
      `maxmemory-policy is ${policy} (maxmemory ${limit})${lost}: an evicted record is a session that cannot continue`,
      "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
    );
  }
  return held(id, `noeviction, maxmemory ${fields["maxmemory"] === "0" ? "without limit" : limit}`);
}

function judgePersistence(fields: Fields): Finding {
  const id = "redis-persistence";
  if (fields["role"] === "slave" || fields["role"] === "replica") {
    return broken(
      id,
      "it is a read-only replica",
      "name the primary in CT_REDIS_URL, or its Sentinels",
    );
  }
  if (fields["rdb_last_bgsave_status"] === "err" || fields["aof_last_write_status"] === "err") {
    return broken(
      id,
      "its last write to disk failed, and then Redis refuses writes",
      "free space on its disk, or turn persistence off: the edge does not need it",
    );
  }
  const replicas = Number(fields["connected_slaves"] ?? 0);
  const isGuarded = fields["min_slaves_good_slaves"] !== undefined;
  const text = fields["aof_enabled"] === "1" ? "with" : "without";
  return held(
    id,
    `${text} an append-only file, which the edge does not need`,
    replicas > 0 && !isGuarded
      ? "it has replicas, and min-replicas-to-write is not set: a primary that is cut off accepts writes that a failover loses"
      : undefined,
  );
}
