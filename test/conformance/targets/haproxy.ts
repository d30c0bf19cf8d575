/**
 * HAProxy as a careful operator configures it for such workers: keep-alive, WebSockets, forwarding headers, the key by
 * consistent hashing.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Subject } from "../case.ts";
import type { Target, Workers } from "../stage.ts";
import { type PeerFiles, startPeer } from "./peer.ts";

export function startHaproxy(
  subject: Subject,
  workers: Workers,
  files: PeerFiles,
): Promise<Target> {
  return startPeer("haproxy", files, async (at) => {
    const pem = join(at.folder, "both.pem");
    await writeFile(
      pem,
      `${await readFile(at.certFile, "utf8")}\n${await readFile(at.keyFile, "utf8")}`,
    );
    const file = join(at.folder, "haproxy.cfg");
    await writeFile(file, configure(subject, workers, { ...at, pem }));
    return { command: "haproxy", args: ["-db", "-q", "-f", file] };
  });
}

function configure(
  subject: Subject,
  workers: Workers,
  at: { readonly httpPort: number; readonly tlsPort: number; readonly pem: string },
): string {
  const ms = subject.timeoutMs ?? 4000;
  const servers = workers.ports
    .map((port, index) => `  server w${index + 1} 127.0.0.1:${port}`)
    .join("\n");
  return `
global
  maxconn 1000
defaults
  mode http
  timeout connect 1s
  timeout client ${ms}ms
  timeout server ${ms}ms
  timeout http-request ${ms}ms
  timeout http-keep-alive ${ms}ms
  timeout tunnel 1h
  option forwardfor
  option redispatch 1
  retries 2
  retry-on conn-failure empty-response
  http-reuse safe
frontend public
  bind 127.0.0.1:${at.httpPort}
  bind 127.0.0.1:${at.tlsPort} ssl crt ${at.pem} alpn http/1.1
  http-request set-var(txn.key) req.hdr(ctstickiness)
  http-request set-var(txn.key) req.cook(ctstickiness) if !{ var(txn.key) -m found }
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  default_backend workers
backend workers
  balance hash var(txn.key)
  hash-type consistent
${servers}
`;
}
