/**
 * The compared proxies, each on one core with access log, timeouts, size limits and health checks. All of them route a key
 * (`ctstickiness`) to one worker and distribute requests without a key.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CertificateFiles } from "../../edge/start/certificate.ts";
import { freePort } from "../../test/support/ports.ts";
import { newestProgram } from "./newest.ts";
import { CORES, type Program, start } from "./process.ts";
import { caddyConfig, haproxyConfig, nginxConfig, type ProxySetup } from "./proxy-configs.ts";

export interface Contender {
  readonly name: string;
  readonly port: number;
  /** Zero when it was started without a certificate. */
  readonly tlsPort: number;
  readonly program: Program;
}

export interface ContenderKind {
  readonly name: string;
  /** What to do when `version` returns undefined, which means that the proxy is not installed. */
  readonly install: string;
  version(): string | undefined;
  start(options: ProxySetup): Promise<Contender>;
}

/** Another binary of Node for our balancer. */
const NODE = process.env["BENCH_NODE"] ?? process.execPath;

export const OURS: ContenderKind = {
  name: "ours",
  install: "let BENCH_NODE name a Node binary",
  version: () => versionOf(NODE, "--version"),
  start: (options) => startOurs(options),
};

export const NGINX = nginxKind(
  "nginx",
  "nginx",
  "apt-get install --no-install-recommends nginx-light",
);
export const HAPROXY = haproxyKind(
  "HAProxy",
  "haproxy",
  "apt-get install --no-install-recommends haproxy",
);

/** The worker itself: what the load, the kernel and the worker take without a proxy. */
export const DIRECT: ContenderKind = {
  name: "direct",
  install: "",
  version: () => "no proxy",
  start: async ({ workers }) => ({
    name: "direct",
    port: workers[0] ?? 0,
    tlsPort: 0,
    program: {
      pid: 0,
      cpuNs: () => Number.NaN,
      privateBytes: () => Number.NaN,
      end: async () => {},
    },
  }),
};

const NEWEST = "npx tsx bench/support/newest.ts";

export const PROXIES: readonly ContenderKind[] = [
  OURS,
  NGINX,
  nginxKind("nginx-new", newestProgram("nginx"), NEWEST),
  HAPROXY,
  haproxyKind("HAProxy-new", newestProgram("haproxy"), NEWEST),
  {
    name: "Caddy",
    install: "RUNLEVEL=1 apt-get install --no-install-recommends caddy",
    version: () => versionOf("caddy", "version"),
    start: (options) => startCaddy(options),
  },
  {
    name: "http-proxy",
    install: "npm ci",
    version: () => versionOf(process.execPath, "-p", "require('http-proxy/package.json').version"),
    start: (options) => startHttpProxy(options),
  },
  DIRECT,
];

/** Versions of the installed ones among `kinds`; prints them, and how to install the missing ones. */
export function readVersions(kinds: readonly ContenderKind[]): Map<ContenderKind, string> {
  const versions = new Map<ContenderKind, string>();
  for (const kind of kinds) {
    const version = kind.version();
    if (version !== undefined) versions.set(kind, version);
    process.stdout.write(
      version === undefined
        ? `${kind.name} is skipped; to include it: ${kind.install}\n`
        : `${kind.name}: ${version}\n`,
    );
  }
  return versions;
}

/** Starts a proxy on free ports, with its files in a folder of its own below `folder`. */
export async function startProxy(
  kind: ContenderKind,
  options: {
    readonly workers: readonly number[];
    readonly folder: string;
    readonly certificate: CertificateFiles;
  },
): Promise<Contender> {
  const folder = join(options.folder, kind.name);
  mkdirSync(folder, { recursive: true });
  const tls = { port: await freePort(), certificate: options.certificate };
  return await kind.start({ port: await freePort(), workers: options.workers, folder, tls });
}

async function startOurs(options: ProxySetup): Promise<Contender> {
  const { port, workers, folder, tls } = options;
  const command = [
    NODE,
    fileURLToPath(new URL("../../dist/balancer/main.js", import.meta.url)),
    ...["--port", String(port), "--bind", "127.0.0.1", "--status-port", "0"],
    ...["--workers", workers.map((worker) => `127.0.0.1:${worker}`).join(",")],
    ...["--log-dir", folder],
  ];
  const env =
    tls === undefined
      ? {}
      : {
          CT_TLS_PORT: String(tls.port),
          CT_TLS_CERT: tls.certificate.cert,
          CT_TLS_KEY: tls.certificate.key,
        };
  return await startMeasured("ours", command, options, env);
}

function nginxKind(name: string, binary: string, install: string): ContenderKind {
  return {
    name,
    install,
    version: () => versionOf(binary, "-v"),
    async start(options) {
      const file = join(options.folder, "nginx.conf");
      writeFileSync(file, nginxConfig(options));
      const command = [binary, "-e", join(options.folder, "error.log"), "-c", file];
      return await startMeasured(name, command, options);
    },
  };
}

function haproxyKind(name: string, binary: string, install: string): ContenderKind {
  return {
    name,
    install,
    version: () => versionOf(binary, "-v"),
    async start(options) {
      const file = join(options.folder, "haproxy.cfg");
      const pem = join(options.folder, "certificate.pem");
      if (options.tls !== undefined) writePem(pem, options.tls.certificate);
      writeFileSync(file, haproxyConfig(options, pem));
      // HAProxy logs to standard output, which is a file here.
      const log = join(options.folder, "access.log");
      openSync(log, "a");
      const command = ["sh", "-c", `exec ${binary} -f ${file} >>${log} 2>&1`];
      return await startMeasured(name, command, options);
    },
  };
}

/** HAProxy wants the certificate and its key in one file. */
function writePem(file: string, { cert, key }: CertificateFiles): void {
  writeFileSync(file, `${readFileSync(cert, "utf8")}\n${readFileSync(key, "utf8")}`);
}

async function startCaddy(options: ProxySetup): Promise<Contender> {
  const file = join(options.folder, "Caddyfile");
  writeFileSync(file, caddyConfig(options));
  return await startMeasured(
    "Caddy",
    ["caddy", "run", "--config", file, "--adapter", "caddyfile"],
    options,
    { HOME: options.folder },
  );
}

async function startHttpProxy(options: ProxySetup): Promise<Contender> {
  const program = fileURLToPath(new URL("http-proxy.mjs", import.meta.url));
  const command = [process.execPath, program, JSON.stringify(options)];
  return await startMeasured("http-proxy", command, options);
}

async function startMeasured(
  name: string,
  command: readonly string[],
  { port, tls }: ProxySetup,
  env: Readonly<Record<string, string>> = {},
): Promise<Contender> {
  const program = await start({ command, core: CORES?.measured, port, env });
  return { name, port, tlsPort: tls?.port ?? 0, program };
}

function versionOf(program: string, ...args: readonly string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] : undefined;
}
