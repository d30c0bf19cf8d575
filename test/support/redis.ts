/**
 * Real Redis servers for tests, each with a Unix socket in its own folder, ready when it responds to PING.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { Redis } from "ioredis";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { connectRedisStore } from "../../shared/store/redis/store.ts";
import type { Store } from "../../shared/store/store.ts";
import { closeAtEnd } from "./at-end.ts";
import { refuseInUnits } from "./build.ts";
import { collectingLog } from "./logs.ts";
import { type Output, outputOf } from "./output.ts";
import { freePort } from "./ports.ts";
import { removeFolder, tempFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export interface RedisOptions {
  readonly password?: string;
  readonly acl?: readonly string[];
  /** Also listens on a port with TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Also listens on a free port, or on this one. */
  readonly port?: true | number;
  /** Additional lines of redis.conf. */
  readonly lines?: readonly string[];
  /** Runs as a Sentinel, without a usable Unix socket. */
  readonly sentinel?: true;
}

export interface TestRedis {
  /** Value for `CT_REDIS_URL`, with the Unix socket. */
  readonly url: string;
  urlFor(user: string, password: string): string;
  /** 0 if it does not listen on a port. */
  readonly port: number;
  readonly tlsPort: number;
  output(): string;
  /** Kills it like a crash; data in memory is lost. Unlike after `close`, it can be started again. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** An administrator's connection over the Unix socket; `close` closes it. */
  admin(): Redis;
  close(): Promise<void>;
}

const READY_TIMEOUT_MS = 10_000;
/** `TEST_REDIS_SERVER` selects another server, such as a newer Redis or Valkey. */
const SERVER = process.env["TEST_REDIS_SERVER"] ?? "redis-server";

export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  refuseInUnits();
  const folder = tempFolder();
  const socketPath = path.join(folder, "redis.sock");
  const port = options.port === true ? await freePort() : (options.port ?? 0);
  const tlsPort = options.tls === undefined ? 0 : await freePort();
  const configFile = path.join(folder, "redis.conf");
  writeFileSync(configFile, configLines({ ...options, folder, socketPath, port, tlsPort }));
  const login = options.password === undefined ? "" : `:${encodeURIComponent(options.password)}@`;
  const admins: Redis[] = [];
  let child: ChildProcess | undefined;
  const outputs: Output[] = [];
  const output = (): string => outputs.map(({ all }) => all).join("");

  async function start(): Promise<void> {
    const args = options.sentinel ? [configFile, "--sentinel"] : [configFile];
    const started = spawn(SERVER, args, { stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    outputs.push(outputOf(started));
    const at = options.sentinel ? { port, host: "127.0.0.1" } : { path: socketPath };
    const isReady = await until(
      `${SERVER} is ready`,
      async () => (await answers(at)) || (started.exitCode !== null && "ended"),
      READY_TIMEOUT_MS,
    ).catch(() => "late");
    if (isReady !== true) throw new Error(`${SERVER} did not start: ${output()}`);
  }

  async function kill(): Promise<void> {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    running.kill("SIGKILL");
    await ended;
  }

  try {
    await start();
  } catch (error) {
    await kill();
    removeFolder(folder);
    throw error;
  }
  return closeAtEnd({
    url: `unix://${login}${socketPath}`,
    urlFor: (user, password) => `unix://${user}:${encodeURIComponent(password)}@${socketPath}`,
    port,
    tlsPort,
    output,
    kill,
    start,
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    admin(): Redis {
      const redis = new Redis({
        ...(options.sentinel ? { host: "127.0.0.1", port } : { path: socketPath }),
        password: options.password,
        maxRetriesPerRequest: 0,
        disableClientInfo: true,
      });
      redis.on("error", () => {});
      admins.push(redis);
      return redis;
    },
    async close() {
      for (const redis of admins) redis.disconnect();
      await kill();
      removeFolder(folder);
    },
  });
}

function configLines(
  options: RedisOptions & { folder: string; socketPath: string; port: number; tlsPort: number },
): string {
  const { folder, tls } = options;
  const lines = [
    `dir ${folder}`,
    "bind 127.0.0.1",
    `port ${options.port}`,
    ...(options.sentinel ? [] : [`unixsocket ${options.socketPath}`, 'save ""']),
    ...(options.lines ?? []),
  ];
  if (options.password !== undefined) lines.push(`requirepass ${options.password}`);
  if (options.acl !== undefined) {
    writeFileSync(path.join(folder, "users.acl"), options.acl.join("\n"));
    lines.push(`aclfile ${path.join(folder, "users.acl")}`);
  }
  if (tls !== undefined) {
    writeFileSync(path.join(folder, "cert.pem"), tls.cert);
    writeFileSync(path.join(folder, "key.pem"), tls.key);
    lines.push(
      `tls-port ${options.tlsPort}`,
      `tls-cert-file ${path.join(folder, "cert.pem")}`,
      `tls-key-file ${path.join(folder, "key.pem")}`,
      "tls-auth-clients no",
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Whether it replies to PING; an error reply (no password) counts, LOADING does not. */
function answers(at: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(at);
    socket.setTimeout(1000, () => socket.destroy());
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
    socket.on("connect", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      resolve(!data.toString().includes("LOADING"));
      socket.destroy();
    });
  });
}

/** The users in docs/operators/redis.md as lines of an ACL file, the one with the fewest rights first. */
export function documentedUsers(password: string): string[] {
  const page = readFileSync(new URL("../../docs/operators/redis.md", import.meta.url), "utf8");
  const rules = [...page.matchAll(/ACL SETUSER (ct on [^`]+)/g)].map(([, rule = ""]) => rule);
  return rules.map((rule) => `user ${rule.replace(/\s+/g, " ").replace("PASSWORD", password)}`);
}

export function documentedUser(password: string): string {
  const [least] = documentedUsers(password);
  if (least === undefined) throw new Error("docs/operators/redis.md shows no user");
  return least;
}

// --- stores ---

export interface TestStore {
  readonly store: Store;
  readonly lines: string[];
  readonly counters: ReturnType<typeof createCounters>;
}

/** A store that connects to `url`, which may not be reachable; closed at the end. */
export function openStore(
  url: string,
  more: { prefix?: string; ca?: string; name?: string; clock?: Clock } = {},
): TestStore {
  const { log, lines } = collectingLog();
  const counters = createCounters();
  const store = connectRedisStore({
    target: parseRedisUrl(url),
    ca: more.ca,
    prefix: more.prefix ?? "{ct}:",
    name: more.name ?? "test",
    clock: more.clock ?? systemClock,
    log,
    counters,
  });
  closeAtEnd(store);
  return { store, lines, counters };
}

/**
 * Makes the store appear to have been running for an hour, so that missing members are considered gone.
 */
export async function settle(admin: Redis, prefix = "{ct}:"): Promise<void> {
  await admin.set(`${prefix}boot`, String(Date.now() - 3_600_000));
}

/**
 * Simulates that `ms` have passed for all keys below `prefix`: reduces every TTL and every time that scripts keep as a score.
 * Keys without a TTL and the clock of Redis are not changed.
 */
export async function age(admin: Redis, ms: number, prefix = "{ct}:"): Promise<void> {
  await admin.eval(AGE, 0, prefix, String(ms));
}

/** With the name `buried` of the version before. */
const AGE = `
local prefix, ms = ARGV[1], tonumber(ARGV[2])
local function starts(key, name) return string.sub(key, 1, #prefix + #name) == prefix .. name end
for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
  local is_index = false
  for _, name in ipairs({ 'members', 'closed', 'revoked', 'buried', 'left:', 'owner:', 'owners', 'user:', 'tickets:', 'reports:', 'sign-ins' }) do
    is_index = is_index or starts(key, name)
  end
  if is_index then
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do
      if all[i + 1] ~= 'inf' then redis.call('ZINCRBY', key, -ms, all[i]) end
    end
  end
  if key == prefix .. 'boot' then redis.call('SET', key, string.format('%.0f', redis.call('GET', key) - ms)) end
  local ttl = redis.call('PTTL', key)
  if ttl >= 0 and ttl <= ms then redis.call('DEL', key)
  elseif ttl > ms then redis.call('PEXPIRE', key, ttl - ms) end
end
return 'ok'
`;
