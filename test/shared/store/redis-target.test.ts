/** `CT_REDIS_URL` and its companions: what is understood, and what is refused without showing a password. */
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { connectStore } from "../../../shared/process/connect-store.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";
import {
  aclRule,
  describeFault,
  type FaultContext,
  isNewEnough,
  tooOldFault,
} from "../../../shared/store/redis/connection/faults.ts";
import { parseRedisUrl } from "../../../shared/store/redis/connection/target.ts";
import { silentLog } from "../../support/logs.ts";
import { startRedis } from "../../support/redis.ts";
import { tempFolder } from "../../support/temp-folder.ts";

describe("the URL of Redis", () => {
  it("the URL of Redis names one server", () => {
    expect(parseRedisUrl("redis://redis")).toEqual({
      at: { kind: "server", host: "redis", port: 6379 },
      login: {},
      db: 0,
      tls: false,
      label: "redis:6379",
    });
    expect(parseRedisUrl("rediss://ct:p%40ss%3A%2F%25@redis.example.com:7000/3")).toEqual({
      at: { kind: "server", host: "redis.example.com", port: 7000 },
      login: { user: "ct", password: "p@ss:/%" },
      db: 3,
      tls: true,
      label: "redis.example.com:7000",
    });
    expect(parseRedisUrl("redis://:secret@[2001:db8::1]:6380/")).toMatchObject({
      at: { host: "2001:db8::1", port: 6380 },
      login: { password: "secret" },
      label: "[2001:db8::1]:6380",
    });
  });

  it("the URL of Redis names a Unix socket", () => {
    expect(parseRedisUrl("unix://ct:pw@/run/redis%20a/redis.sock?db=2")).toEqual({
      at: { kind: "socket", path: "/run/redis a/redis.sock" },
      login: { user: "ct", password: "pw" },
      db: 2,
      tls: false,
      label: "/run/redis a/redis.sock",
    });
  });

  it("the URL of Redis names Sentinels and the primary", () => {
    const url =
      "rediss+sentinel://ct:pw@s1:26380,s2,[::1]/edge?db=1&sentinel-user=u&sentinel-password=p%26w";
    expect(parseRedisUrl(url)).toEqual({
      at: {
        kind: "sentinels",
        sentinels: [
          { host: "s1", port: 26_380 },
          { host: "s2", port: 26_379 },
          { host: "::1", port: 26_379 },
        ],
        primary: "edge",
        login: { user: "u", password: "p&w" },
      },
      login: { user: "ct", password: "pw" },
      db: 1,
      tls: true,
      label: "edge of Sentinel s1:26380, s2:26379, [::1]:26379",
    });
  });

  it("the URL of Redis may begin with valkey://", () => {
    const { label: _, ...plain } = parseRedisUrl("redis://ct:pw@host/2");
    expect(parseRedisUrl("valkey://ct:pw@host/2")).toMatchObject(plain);
    expect(parseRedisUrl("valkeys://host")).toMatchObject({ tls: true });
  });

  it.each([
    [
      "host.example:6380,password=hunter2=,ssl=True,abortConnect=False",
      "connection string of another",
    ],
    ["redis://:hunter2#1@host", "write # as %23"],
  ])("the URL of Redis that is written wrong is told how to write it", (url, hint) => {
    expect(() => parseRedisUrl(url)).toThrow(hint);
    expect(() => parseRedisUrl(url)).not.toThrow("hunter2");
  });

  it("the URL of Redis is rejected when invalid, and never shown", () => {
    const secret = "hunter2";
    for (const url of [
      "",
      secret,
      `http://:${secret}@host`,
      `redis://:${secret}@`,
      `redis://:${secret}@host:0`,
      `redis://:${secret}@host:70000`,
      `redis://:${secret}@host:x`,
      `redis://:${secret}@ho st`,
      `redis://:${secret}@host,other`,
      `redis://:${secret}@host/x`,
      `redis://:${secret}@host/99999`,
      `redis://:${secret}@host?db=1`,
      `redis://:a@${secret}@host`,
      `redis://:a:${secret}@host`,
      `redis://:%${secret}@host`,
      `redis://:${secret}#a@host`,
      `unix://:${secret}@host/path`,
      `unix://:${secret}@`,
      `unix://:${secret}@/path?x=1`,
      `redis+sentinel://:${secret}@host`,
      `redis+sentinel://:${secret}@host,/name`,
      `redis+sentinel://:${secret}@host/na%20me`,
      `redis+sentinel://:${secret}@host/name?password=${secret}`,
    ]) {
      let message = "";
      try {
        parseRedisUrl(url);
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message, url).toMatch(
        /^CT_REDIS_URL=\(not shown\) is not allowed: .*; use redis:\/\//,
      );
      expect(message).not.toContain(secret);
    }
  });
});

describe("the configured store", () => {
  const needs = { name: "worker-1", clock: systemClock, counters: createCounters() };
  const log = silentLog();

  function connect(env: Record<string, string>) {
    return connectStore({ ...needs, log, settings: readSettings({ role: "worker", env }) });
  }

  it("the configured store is Redis with CT_REDIS_URL, with the given prefix and name", async () => {
    const redis = await startRedis();
    const store = connect({ CT_REDIS_URL: redis.url, CT_REDIS_PREFIX: "team-a:{edge}:" });
    await store.addToCounters({ a: 1 });
    const admin = redis.admin();
    expect((await admin.keys("*")).sort()).toEqual([
      "team-a:{edge}:boot",
      "team-a:{edge}:counters",
    ]);
    const clients = String(await admin.client("LIST"));
    expect(clients).toContain("name=ct-worker-1 ");
    expect(clients).toContain("name=ct-worker-1-changes ");
    await store.close();
    await redis.close();
  });

  it("the configured store is the embedded one with CT_STORE_SOCKET, whatever else is set", async () => {
    const store = connect({
      CT_STORE_SOCKET: "/nonexistent/store.sock",
      CT_REDIS_URL: "redis://127.0.0.1:1",
    });
    await expect(store.timeMs()).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });
    expect(store.health).toMatchObject({ reason: expect.stringContaining("store.sock") });
    await store.close();
  });

  it("a store must be configured to be opened", () => {
    expect(() => connect({})).toThrow(/no store is configured: set CT_REDIS_URL/);
  });

  it("the configured store is rejected with an invalid URL, prefix or authority", () => {
    const folder = tempFolder();
    const file = path.join(folder, "ca.pem");
    writeFileSync(file, "not a certificate");
    const url = "redis://127.0.0.1:1";
    for (const [env, message] of [
      [{ CT_REDIS_URL: "http://:hunter2@h" }, /^CT_REDIS_URL=\(not shown\) is not allowed/],
      [{ CT_REDIS_URL: "redis://:a:hunter2@h" }, /^CT_REDIS_URL=\(not shown\) is not allowed/],
      [{ CT_REDIS_URL: url, CT_REDIS_PREFIX: "ct:" }, /^CT_REDIS_PREFIX="ct:" is not allowed/],
      [{ CT_REDIS_URL: url, CT_REDIS_CA: "/nonexistent" }, /^CT_REDIS_CA=\/nonexistent: cannot be/],
      [{ CT_REDIS_URL: url, CT_REDIS_CA: file }, /contains no certificate/],
    ] as const) {
      expect(() => connect(env)).toThrow(message);
      expect(() => connect(env)).not.toThrow(/hunter2/);
    }
    rmSync(folder, { recursive: true });
  });
});

const CONTEXT: FaultContext = { secrets: [], tls: false, aclRule: aclRule("ct", "{ct}:") };

describe("the fault of an error of Redis", () => {
  it.each([
    ["WRONGPASS invalid username-password pair or user is disabled.", "password", true],
    ["NOAUTH HELLO must be called with the client already authenticated", "password", true],
    ["NOPERM this user has no permissions to run the 'eval' command", "rights", false],
    // Redis 7.2, 8 and Valkey.
    ["NOPERM User ct has no permissions to run the 'evalsha' command", "rights", false],
    [
      "ERR ACL failure in script: User ct has no permissions to run the 'publish' command script: 0c6f, on @user_script:135.",
      "rights",
      false,
    ],
    [
      "NOPERM ACL failure in script: User ct has no permissions to access the '{ct}:boot' key script: 0c6f",
      "rights",
      false,
    ],
    // Redis 7.0, and 6.2.
    [
      "ERR The user executing the script can't run this command or subcommand script: 0c6f, on @user_script:135.",
      "rights",
      false,
    ],
    [
      "ERR Error running script (call to f_0c6f): @user_script:12: The user executing the script can't access at least one of the keys mentioned in the command arguments",
      "rights",
      false,
    ],
    [
      "ERR Error running script (call to 5c4d62f4): @user_script:2: script tried accessing undeclared key, key: {ct}:boot",
      "undeclared",
      true,
    ],
    [
      "DENIED Redis is running in protected mode because protected mode is enabled",
      "protected",
      true,
    ],
    [
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      "replica",
      true,
    ],
    ["READONLY You can't write against a read only replica.", "replica", true],
    [
      "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write",
      "replica",
      true,
    ],
    ["LOADING Redis is loading the dataset in memory", "loading", true],
    ["BUSY Redis is busy running a script.", "busy", true],
    ["MOVED 3999 127.0.0.1:6381", "cluster", true],
    ["CLUSTERDOWN Hash slot not served", "cluster", true],
    ["MISCONF Redis is configured to save RDB snapshots", "unsafe", true],
    ["NOREPLICAS Not enough good replicas to write.", "unsafe", true],
    ["OOM command not allowed when used memory > 'maxmemory'.", "full", false],
    ["ERR max number of clients reached", "clients", true],
    ["connect ECONNREFUSED 127.0.0.1:1", "refused", true],
    ["getaddrinfo ENOTFOUND redis", "name", true],
    ["Command timed out", "slow", true],
    ["Connection is closed.", "lost", true],
    [
      "no Sentinel names the primary: s1:26379 connect ECONNREFUSED 10.0.0.1:26379",
      "sentinel",
      true,
    ],
    ["no Sentinel names the primary: s1:26379 WRONGPASS invalid password", "password", true],
    ["WRONGTYPE Operation against a key", "command", false],
  ])("the fault of an error of Redis is described: %s", (message, kind, away) => {
    expect(describeFault(new Error(message), CONTEXT)).toMatchObject({ kind, away });
  });

  it("the fault of an error of Redis suggests no change of the default user, which others may use too", () => {
    const { reason } = describeFault(new Error("NOPERM no"), {
      ...CONTEXT,
      aclRule: aclRule(undefined, "{ct}:"),
    });
    expect(reason).toContain(
      "ACL SETUSER ct on >PASSWORD ~{ct}:* &{ct}:* +@all -@admin -@dangerous, and",
    );
  });

  it.each([
    ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "tls-auth-clients no"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "for another host name"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "CT_REDIS_CA"],
    ["Unknown RESP type 21", "write rediss:// in CT_REDIS_URL"],
  ])("the fault of the error %s of Redis has its cure: %s", (message, cure) => {
    expect(describeFault(new Error(message), CONTEXT).reason).toContain(cure);
  });

  it("the fault of an error shows no password that Redis repeats", () => {
    const old =
      "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`, ";
    expect(describeFault(new Error(old), CONTEXT).reason).not.toContain("hunter2");
    expect(
      describeFault(new Error("ERR odd hunter2"), { ...CONTEXT, secrets: ["hunter2"] }).reason,
    ).toBe("ERR odd (masked)");
  });

  it("the store detects versions of Redis that are too old", () => {
    for (const version of ["6.2.0", "6.2.14", "7.0.15", "8.0.1", "10.1.0", "unknown"]) {
      expect(isNewEnough(version), version).toBe(true);
    }
    for (const version of ["5.0.14", "6.0.20", "2.8.0"]) {
      expect(isNewEnough(version), version).toBe(false);
    }
    expect(tooOldFault("5.0.14").reason).toBe("Redis 5.0.14 is too old; 6.2 or newer is needed");
  });
});
