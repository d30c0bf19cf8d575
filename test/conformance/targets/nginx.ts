/**
 * nginx as a careful operator configures it for such workers: keep-alive, WebSockets, no buffering, the key by consistent
 * hashing.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Subject } from "../case.ts";
import type { Target, Workers } from "../stage.ts";
import { type PeerFiles, startPeer } from "./peer.ts";

export function startNginx(subject: Subject, workers: Workers, files: PeerFiles): Promise<Target> {
  return startPeer("nginx", files, async (at) => {
    const file = join(at.folder, "nginx.conf");
    await writeFile(file, configure(subject, workers, at));
    return { command: "nginx", args: ["-p", at.folder, "-e", "stderr", "-c", file] };
  });
}

function configure(
  subject: Subject,
  workers: Workers,
  at: { readonly folder: string; readonly httpPort: number; readonly tlsPort: number } & PeerFiles,
): string {
  const seconds = Math.max(1, Math.round((subject.timeoutMs ?? 4000) / 1000));
  const servers = workers.ports.map((port) => `server 127.0.0.1:${port} max_fails=0;`).join(" ");
  return `
# One process, so that nothing is left when it is killed.
daemon off;
master_process off;
pid ${at.folder}/pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${at.folder}/body;
  proxy_temp_path ${at.folder}/proxy;
  fastcgi_temp_path ${at.folder}/f;
  uwsgi_temp_path ${at.folder}/u;
  scgi_temp_path ${at.folder}/s;
  client_header_timeout ${seconds}s;
  client_body_timeout ${seconds}s;
  send_timeout ${seconds}s;
  keepalive_timeout ${seconds}s;
  client_max_body_size 0;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  map $http_ctstickiness $key { default $http_ctstickiness; "" $cookie_ctstickiness; }
  map $key $balance { default $key; "" $request_id; }
  upstream workers { hash $balance consistent; ${servers} keepalive 64; }
  server {
    listen 127.0.0.1:${at.httpPort};
    listen 127.0.0.1:${at.tlsPort} ssl;
    ssl_certificate ${at.certFile};
    ssl_certificate_key ${at.keyFile};
    location / {
      proxy_pass http://workers;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_connect_timeout 1s;
      proxy_read_timeout ${seconds}s;
      proxy_send_timeout ${seconds}s;
    }
  }
}
`;
}
