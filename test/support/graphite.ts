/**
 * StatsD (npm), carbon and graphite-web (Debian) with the settings of deploy/graphite, except that it flushes every second
 * instead of every ten.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { fetch } from "undici";
import { atEnd } from "./at-end.ts";
import { type Output, outputOf } from "./output.ts";
import { freePort } from "./ports.ts";
import { tempFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export const FLUSH_MS = 1000;

export interface Graphite {
  /** Port of StatsD, UDP and TCP. */
  readonly port: number;
  readonly url: string;
  /** The points of each series that matches `target`, over the last `fromS` seconds; points without a value are left out. */
  render(target: string, fromS: number): Promise<readonly RenderedSeries[]>;
  close(): Promise<void>;
}

export interface RenderedSeries {
  readonly target: string;
  /** Value and time in s. */
  readonly points: readonly (readonly [value: number, atS: number])[];
}

/** Not the first python3 in PATH, because Debian's modules are installed for Debian's Python. */
const PYTHON = "/usr/bin/python3";

export function statsdSettings(): Record<string, unknown> {
  const text = readFileSync(new URL("../../deploy/graphite/statsd.conf", import.meta.url), "utf8");
  return runInNewContext(`(${text.replace(/^\s*\/\/.*$/gm, "")})`) as Record<string, unknown>;
}

export async function startGraphite(): Promise<Graphite> {
  const folder = tempFolder();
  const [port, carbonPort, pickPort, queryPort, webPort, adminPort] = (await Promise.all(
    Array.from({ length: 6 }, freePort),
  )) as [number, number, number, number, number, number];
  for (const name of ["conf", "web", "whisper", "log"]) mkdirSync(join(folder, name));
  writeFileSync(
    join(folder, "conf/carbon.conf"),
    carbonSettings(folder, { carbonPort, pickPort, queryPort }),
  );
  writeFileSync(
    join(folder, "conf/storage-schemas.conf"),
    "[test]\npattern = .*\nretentions = 1s:1h\n",
  );
  const aggregation = new URL("../../deploy/graphite/storage-aggregation.conf", import.meta.url);
  writeFileSync(join(folder, "conf/storage-aggregation.conf"), readFileSync(aggregation));
  writeFileSync(join(folder, "web/local_settings.py"), webSettings(folder, queryPort));
  const servers = ["udp", "tcp"].map((kind) => ({
    server: `./servers/${kind}`,
    address: "127.0.0.1",
    port,
  }));
  const statsd = {
    ...statsdSettings(),
    graphiteHost: "127.0.0.1",
    graphitePort: carbonPort,
    flushInterval: FLUSH_MS,
    mgmt_address: "127.0.0.1",
    mgmt_port: adminPort,
    port,
    servers,
  };
  writeFileSync(join(folder, "conf/statsd.js"), JSON.stringify(statsd));

  const env = {
    ...process.env,
    PYTHONPATH: join(folder, "web"),
    DJANGO_SETTINGS_MODULE: "graphite.settings",
    GRAPHITE_SETTINGS_MODULE: "local_settings",
    PYTHONWARNINGS: "ignore",
  };
  const children: ChildProcess[] = [];
  const outputs: Output[] = [];
  function start(command: string, args: readonly string[]): void {
    const child = spawn(command, args, { env, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    outputs.push(outputOf(child));
    children.push(child);
  }
  async function close(): Promise<void> {
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }),
    );
    rmSync(folder, { recursive: true, force: true });
  }

  const url = `http://127.0.0.1:${webPort}`;
  try {
    const migrated = spawnSync(PYTHON, ["-m", "django", "migrate", "--run-syncdb"], {
      env,
      encoding: "utf8",
    });
    if (migrated.status !== 0)
      throw new Error(`graphite-web: ${migrated.stdout}${migrated.stderr}`);
    const config = `--config=${join(folder, "conf/carbon.conf")}`;
    start(PYTHON, ["/usr/bin/carbon-cache", config, "--nodaemon", "start"]);
    await until("carbon listens", () => listens(carbonPort), 60_000);
    const stats = fileURLToPath(new URL("../../node_modules/statsd/stats.js", import.meta.url));
    start(process.execPath, [stats, join(folder, "conf/statsd.js")]);
    start(PYTHON, [
      "-m",
      "django",
      "runserver",
      `127.0.0.1:${webPort}`,
      "--noreload",
      "--insecure",
    ]);
    await until("StatsD listens", () => listens(port), 60_000);
    await until(
      "graphite-web responds",
      async () => (await fetch(`${url}/render?format=json`)).ok,
      60_000,
    );
  } catch (error) {
    await close();
    throw new Error(`Graphite did not start: ${outputs.map(({ all }) => all).join()}`, {
      cause: error,
    });
  }
  atEnd(close);
  return {
    port,
    url,
    async render(target, fromS) {
      const query = new URLSearchParams({
        target,
        from: `-${fromS}s`,
        format: "json",
        noCache: "1",
      });
      const response = await fetch(`${url}/render?${query.toString()}`);
      if (!response.ok) throw new Error(`${target}: ${response.status} ${await response.text()}`);
      const all = (await response.json()) as {
        target: string;
        datapoints: [number | null, number][];
      }[];
      return all.map(({ target: name, datapoints }) => ({
        target: name,
        points: datapoints.flatMap(([value, atS]) =>
          value === null ? [] : [[value, atS] as const],
        ),
      }));
    },
    close,
  };
}

function carbonSettings(
  folder: string,
  ports: { carbonPort: number; pickPort: number; queryPort: number },
): string {
  return [
    "[cache]",
    `STORAGE_DIR = ${folder}`,
    `LOCAL_DATA_DIR = ${folder}/whisper`,
    `CONF_DIR = ${folder}/conf`,
    `LOG_DIR = ${folder}/log`,
    `PID_DIR = ${folder}`,
    // Empty: the user who runs the test.
    "USER =",
    "ENABLE_LOGROTATION = False",
    "MAX_CACHE_SIZE = inf",
    "MAX_UPDATES_PER_SECOND = inf",
    // With Debian's 50, creating the series of a cluster would take minutes.
    "MAX_CREATES_PER_MINUTE = inf",
    "LINE_RECEIVER_INTERFACE = 127.0.0.1",
    `LINE_RECEIVER_PORT = ${ports.carbonPort}`,
    "PICKLE_RECEIVER_INTERFACE = 127.0.0.1",
    `PICKLE_RECEIVER_PORT = ${ports.pickPort}`,
    "CACHE_QUERY_INTERFACE = 127.0.0.1",
    `CACHE_QUERY_PORT = ${ports.queryPort}`,
    "",
  ].join("\n");
}

function webSettings(folder: string, queryPort: number): string {
  return [
    "SECRET_KEY = 'of a test'",
    "ALLOWED_HOSTS = ['*']",
    "TIME_ZONE = 'UTC'",
    `STORAGE_DIR = '${folder}'`,
    `WHISPER_DIR = '${folder}/whisper'`,
    `LOG_DIR = '${folder}/log'`,
    `INDEX_FILE = '${folder}/index'`,
    `CARBONLINK_HOSTS = ['127.0.0.1:${queryPort}']`,
    `DATABASES = {'default': {'NAME': '${folder}/graphite.db', 'ENGINE': 'django.db.backends.sqlite3'}}`,
    "",
  ].join("\n");
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
