/**
 * Configurations of the compared proxies. All have what ours has: an access log, timeouts, size limits, health checks, routing
 * by key, and the same forwarding fields.
 */
import type { CertificateFiles } from "../../edge/start/certificate.ts";

export interface ProxySetup {
  readonly port: number;
  /** Ports on the loopback address. */
  readonly workers: readonly number[];
  /** For the files of this proxy. */
  readonly folder: string;
  /** Without it there is no TLS port. */
  readonly tls?: { readonly port: number; readonly certificate: CertificateFiles };
}

export function nginxConfig({ port, workers, folder, tls }: ProxySetup): string {
  const servers = workers
    .map((worker) => `server 127.0.0.1:${worker} max_fails=3 fail_timeout=1s;`)
    .join("\n    ");
  const listenTls =
    tls === undefined
      ? ""
      : `listen 127.0.0.1:${tls.port} ssl backlog=1024;
    ssl_certificate ${tls.certificate.cert};
    ssl_certificate_key ${tls.certificate.key};`;
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
  client_max_body_size 100m;
  # As in the others, a body is passed on as it arrives, and never written to a file.
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  proxy_connect_timeout 1s;
  proxy_read_timeout 60s;
  large_client_header_buffers 4 8k;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream keyed { hash $http_ctstickiness consistent; ${servers} keepalive 256; keepalive_requests 1000000000; }
  upstream spread { ${servers} keepalive 256; keepalive_requests 1000000000; }
  map $http_ctstickiness $workers { default keyed; '' spread; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    ${listenTls}
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

/** `pem` has the certificate and its key in one file, for the TLS port. */
export function haproxyConfig({ port, workers, tls }: ProxySetup, pem: string): string {
  const servers = workers
    .map((worker, index) => `  server w${index} 127.0.0.1:${worker} check inter 1s`)
    .join("\n");
  const backend = `
  option httpchk GET /api/meta
  http-reuse always
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
${servers}`;
  const bindTls = tls === undefined ? "" : `bind 127.0.0.1:${tls.port} backlog 1024 ssl crt ${pem}`;
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
  ${bindTls}
  use_backend keyed if { req.hdr(ctstickiness) -m found }
  default_backend spread
backend keyed
  balance hdr(ctstickiness)
  hash-type consistent${backend}
backend spread
  balance roundrobin${backend}
`;
}

export function caddyConfig({ port, workers, folder, tls }: ProxySetup): string {
  const upstream = `${workers.map((worker) => `127.0.0.1:${worker}`).join(" ")} {
    health_uri /api/meta
    health_interval 1s
    header_up X-Real-IP {http.request.remote.host}
    header_up X-Request-ID {http.request.uuid}
    transport http {
      dial_timeout 1s
      response_header_timeout 60s
      keepalive_idle_conns_per_host 256
    }`;
  const tlsSite =
    tls === undefined
      ? ""
      : `https://:${tls.port} {
  bind 127.0.0.1
  tls ${tls.certificate.cert} ${tls.certificate.key}
  import routes
}`;
  return `
{
  admin off
  auto_https off
  storage file_system ${folder}
  log default {
    output file ${folder}/error.log
    level WARN
  }
  servers {
    timeouts {
      read_header 10s
      read_body 30s
      idle 65s
    }
    max_header_size 32KB
    protocols h1 h2
  }
}
(routes) {
  log {
    output file ${folder}/access.log
  }
  request_body {
    max_size 100MB
  }
  @keyed header ctstickiness *
  reverse_proxy @keyed ${upstream}
    lb_policy header ctstickiness
  }
  reverse_proxy ${upstream}
    lb_policy round_robin
  }
}
http://:${port} {
  bind 127.0.0.1
  import routes
}
${tlsSite}
`;
}
