/**
 * nginx and HAProxy configured for failing workers: short upstream timeouts, a retry at another worker, health checks every
 * second. Those in proxies.ts are configured for speed.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { start } from "./process.ts";
import { type ContenderKind, HAPROXY, NGINX, OURS } from "./proxies.ts";

const startNginx: ContenderKind["start"] = async ({ port, workers, folder }) => {
  const file = join(folder, "nginx-faults.conf");
  const servers = workers
    .map((worker) => `server 127.0.0.1:${worker} max_fails=1 fail_timeout=2s;`)
    .join(" ");
  writeFileSync(
    file,
    `
# One process, so that none is left over after a kill.
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 4000; }
http {
  access_log ${folder}/access.log combined;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream workers { hash $http_ctstickiness consistent; ${servers} keepalive 64; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://workers;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_connect_timeout 1s;
      proxy_read_timeout 2s;
      proxy_next_upstream error timeout;
      proxy_next_upstream_tries 2;
    }
  }
}
`,
  );
  const command = ["nginx", "-e", join(folder, "error.log"), "-c", file];
  return {
    name: "nginx",
    port,
    tlsPort: 0,
    program: await start({ command, core: undefined, port }),
  };
};

const startHaproxy: ContenderKind["start"] = async ({ port, workers, folder }) => {
  const file = join(folder, "haproxy-faults.cfg");
  const servers = workers
    .map(
      (worker, i) =>
        `  server w${i} 127.0.0.1:${worker} check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions`,
    )
    .join("\n");
  writeFileSync(
    file,
    `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 65s
  timeout server 5s
  timeout tunnel 1h
  timeout check 1s
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout
frontend public
  bind 127.0.0.1:${port}
  default_backend workers
backend workers
  balance hdr(ctstickiness)
  hash-type consistent
  option httpchk GET /api/meta
${servers}
`,
  );
  const command = ["haproxy", "-db", "-q", "-f", file];
  return {
    name: "HAProxy",
    port,
    tlsPort: 0,
    program: await start({ command, core: undefined, port }),
  };
};

/** Ours as in proxies.ts, the others as their manuals recommend for failing workers. */
export const FAULT_PROXIES: readonly ContenderKind[] = [
  OURS,
  { ...NGINX, start: startNginx },
  { ...HAPROXY, start: startHaproxy },
];
