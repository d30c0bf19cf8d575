/**
 * The compared proxies, ours, nginx and HAProxy, each on one core with access log, timeouts, size limits and health checks.
 * All of them route a key (`ctstickiness`) to one worker and distribute requests without a key.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CORES, type Program, start } from "./process.ts";

export interface Contender {
  readonly name: string;
  readonly port: number;
  readonly program: Program;
}

/** Starts a proxy in front of workers (ports on the loopback address), with `folder` for its files. */
export interface ContenderKind {
  readonly name: string;
  version(): string | undefined;
  start(options: { port: number; workers: readonly number[]; folder: string }): Promise<Contender>;
}

export const PROXIES: readonly ContenderKind[] = [
  {
    name: "ours",
    version: () => `Node ${process.version}`,
    async start({ port, workers, folder }) {
      const program = await start({
        command: [
          process.execPath,
          fileURLToPath(new URL("../../dist/balancer/main.js", import.meta.url)),
          ...["--port", String(port), "--bind", "127.0.0.1", "--status-port", "0"],
          ...["--workers", workers.map((worker) => `127.0.0.1:${worker}`).join(",")],
          ...["--log-dir", folder],
        ],
        core: CORES?.measured,
        port,
      });
      return { name: "ours", port, program };
    },
  },
  {
    name: "nginx",
    version: () => versionOf("nginx", "-v"),
    async start({ port, workers, folder }) {
      const file = join(folder, "nginx.conf");
      writeFileSync(file, nginxConfig(port, workers, folder));
      const program = await start({
        command: ["nginx", "-e", join(folder, "error.log"), "-c", file],
        core: CORES?.measured,
        port,
      });
      return { name: "nginx", port, program };
    },
  },
  {
    name: "HAProxy",
    version: () => versionOf("haproxy", "-v"),
    async start({ port, workers, folder }) {
      const file = join(folder, "haproxy.cfg");
      writeFileSync(file, haproxyConfig(port, workers));
      // HAProxy logs to standard output, which is a file here.
      const log = join(folder, "access.log");
      openSync(log, "a");
      const program = await start({
        command: ["sh", "-c", `exec haproxy -f ${file} >>${log} 2>&1`],
        core: CORES?.measured,
        port,
      });
      return { name: "HAProxy", port, program };
    },
  },
];

/** Starts each installed proxy; prints which ones are missing. */
export async function startProxies(options: {
  ports: readonly number[];
  workers: readonly number[];
  folder: string;
}): Promise<Contender[]> {
  const proxies: Contender[] = [];
  for (const [index, kind] of PROXIES.entries()) {
    const version = kind.version();
    if (version === undefined) {
      process.stdout.write(`${kind.name} is not installed and is skipped\n`);
      continue;
    }
    const folder = join(options.folder, kind.name);
    mkdirSync(folder, { recursive: true });
    proxies.push(
      await kind.start({ port: options.ports[index] ?? 0, workers: options.workers, folder }),
    );
  }
  return proxies;
}

function versionOf(program: string, flag: string): string | undefined {
  const { error, stdout, stderr } = spawnSync(program, [flag], { encoding: "utf8" });
  if (error !== undefined) return undefined;
  return /\d+(\.\d+)+/.exec(stdout + stderr)?.[0];
}

function nginxConfig(port: number, workers: readonly number[], folder: string): string {
  const servers = workers
    .map((worker) => `server 127.0.0.1:${worker} max_fails=3 fail_timeout=1s;`)
    .join("\n    ");
  return `
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 20000; }
http {
  access_log ${folder}/access.log combined;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 65s;
  client_header_timeout 10s;
  client_body_timeout 30s;
  proxy_connect_timeout 1s;
  proxy_read_timeout 60s;
  large_client_header_buffers 4 8k;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream keyed { hash $http_ctstickiness consistent; ${servers} keepalive 256; keepalive_requests 1000000000; }
  upstream spread { ${servers} keepalive 256; keepalive_requests 1000000000; }
  map $http_ctstickiness $workers { default keyed; '' spread; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location / {
      proxy_pass http://$workers;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Request-ID $request_id;
    }
  }
}
`;
}

function haproxyConfig(port: number, workers: readonly number[]): string {
  const servers = workers
    .map((worker, index) => `  server w${index} 127.0.0.1:${worker} check inter 1s`)
    .join("\n");
  const backend = `
  option httpchk GET /api/meta
  http-reuse always
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
${servers}`;
  return `
global
  nbthread 1
  maxconn 9500
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  unique-id-format %{+X}o\\ %pid-%rt-%Ts
  unique-id-header X-Request-ID
  timeout connect 1s
  timeout client 65s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 65s
  timeout tunnel 1h
frontend public
  bind 127.0.0.1:${port} backlog 1024
  use_backend keyed if { req.hdr(ctstickiness) -m found }
  default_backend spread
backend keyed
  balance hdr(ctstickiness)
  hash-type consistent${backend}
backend spread
  balance roundrobin${backend}
`;
}
