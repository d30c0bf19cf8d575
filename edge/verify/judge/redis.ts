/** Judges what Redis says of itself. Pure. */
import type { RedisInfo } from "../inside/redis-info.ts";
import { broken, forAll, held, unknown, type Verdict, type Verdicts } from "../model/finding.ts";

const REDIS_IDS = ["redis-policy", "redis-persistence"] as const;

/** `embedded`: the store is that of one machine. */
export function judgeRedis(info: RedisInfo | "embedded" | "not asked"): Verdicts {
  if (info === "embedded") {
    return forAll(REDIS_IDS, held("there is no Redis: the store is embedded"));
  }
  if (info === "not asked") {
    return forAll(REDIS_IDS, unknown("only Redis itself tells", "give --redis (CT_REDIS_URL)"));
  }
  if (info.outcome === "failed") {
    const cure = "check --redis, and allow INFO to its user (+info)";
    return forAll(REDIS_IDS, unknown(`INFO failed: ${info.detail}`, cure));
  }
  return {
    "redis-policy": judgePolicy(info.fields),
    "redis-persistence": judgePersistence(info.fields),
  };
}

type Fields = Readonly<Record<string, string>>;

function judgePolicy(fields: Fields): Verdict {
  const policy = fields["maxmemory_policy"];
  if (policy === undefined)
    return unknown("INFO does not name a policy", "check maxmemory-policy by hand");
  const limit = fields["maxmemory_human"] ?? fields["maxmemory"] ?? "unknown";
  const evicted = Number(fields["evicted_keys"] ?? 0);
  if (policy !== "noeviction") {
    const lost = evicted > 0 ? `; ${evicted} keys were evicted since its start` : "";
    return broken(
      `maxmemory-policy is ${policy} (maxmemory ${limit})${lost}: an evicted record is a session that cannot continue`,
      "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
    );
  }
  return held(`noeviction, maxmemory ${fields["maxmemory"] === "0" ? "without limit" : limit}`);
}

function judgePersistence(fields: Fields): Verdict {
  if (fields["role"] === "slave" || fields["role"] === "replica") {
    return broken(
      "it is a read-only replica",
      "name the primary in CT_REDIS_URL, or its Sentinels",
    );
  }
  if (fields["rdb_last_bgsave_status"] === "err" || fields["aof_last_write_status"] === "err") {
    return broken(
      "its last write to disk failed, and then Redis refuses writes",
      "free space on its disk, or turn persistence off: the edge does not need it",
    );
  }
  const replicas = Number(fields["connected_slaves"] ?? 0);
  const isGuarded = fields["min_slaves_good_slaves"] !== undefined;
  const text = fields["aof_enabled"] === "1" ? "with" : "without";
  return held(
    `${text} an append-only file, which the edge does not need`,
    replicas > 0 && !isGuarded
      ? "it has replicas, and min-replicas-to-write is not set: a primary that is cut off accepts writes that a failover loses"
      : undefined,
  );
}
