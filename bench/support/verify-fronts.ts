/** nginx, HAProxy and Caddy in front of two balancers, right and with each of the faults that `ct-edge verify` has to name. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Agent, fetch } from "undici";
import { until } from "../../test/support/until.ts";

/** Each with the checks of which one names it. */
export const FRONT_FAULTS = {
  "front without upgrade": ["websocket"],
  "30 s idle cut": ["idle"],
  "sticky cookie of the front": ["front-cookie"],
  "cookie stripped": ["sticky-cookie"],
  "buffering proxy": ["request-buffering", "response-buffering"],
  "body limit": ["body-limit"],
  "expired certificate": ["certificate"],
} as const;
export type FrontFault = keyof typeof FRONT_FAULTS;

export interface FrontOptions {
  readonly port: number;
  readonly balancers: readonly number[];
  readonly folder: string;
  readonly fault: FrontFault | undefined;
  /** PEM files; with them the front speaks TLS. */
  readonly tls: { readonly cert: string; readonly key: string; readonly both: string } | undefined;
}

export interface FrontKind {
  readonly name: "nginx" | "HAProxy" | "Caddy";
  readonly program: string;
  /** Its configuration, and the command that runs it in the foreground. */
  readonly configure: (options: FrontOptions) => {
    readonly file: string;
    readonly text: string;
    readonly command: (path: string) => readonly string[];
  };
}

export const FRONT_KINDS: readonly FrontKind[] = [
  { name: "nginx", program: "nginx", configure: configureNginx },
  { name: "HAProxy", program: "haproxy", configure: configureHaproxy },
  { name: "Caddy", program: "caddy", configure: configureCaddy },
];

export function isInstalled({ program }: FrontKind): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}

export interface RunningFront {
  readonly url: string;
  end(): Promise<void>;
}

export async function startFrontKind(
  kind: FrontKind,
  options: FrontOptions,
): Promise<RunningFront> {
  const { folder, port, tls } = options;
  mkdirSync(folder, { recursive: true });
  const { file, text, command } = kind.configure(options);
  const path = join(folder, file);
  writeFileSync(path, text);
  const [program = "", ...args] = command(path);
  const env = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const killAtExit = (): void => void child.kill("SIGKILL");
  process.once("exit", killAtExit);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-4000);
    });
  }
  const exited = once(child, "exit");
  const url = tls === undefined ? `http://localhost:${port}` : `https://localhost:${port}`;
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  await until(`${kind.name} answers`, async () => {
    if (child.exitCode !== null) throw new Error(output);
    return (await fetch(`${url}/api/meta`, { dispatcher })).ok;
  });
  await dispatcher.destroy();
  return {
    url,
    async end() {
      child.kill("SIGKILL");
      await exited;
      process.off("exit", killAtExit);
    },
  };
}

function configureNginx({ port, balancers, folder, fault, tls }: FrontOptions) {
  const servers = balancers.map((balancer) => `server 127.0.0.1:${balancer};`).join(" ");
  const isFault = (name: FrontFault): boolean => fault === name;
  const buffering = isFault("buffering proxy") ? "on" : "off";
  const lines = [
    ...(isFault("front without upgrade")
      ? ['proxy_set_header Connection "";']
      : [
          "proxy_set_header Upgrade $http_upgrade;",
          "proxy_set_header Connection $connection_upgrade;",
        ]),
    `proxy_read_timeout ${isFault("30 s idle cut") ? "30s" : "3600s"};`,
    `proxy_buffering ${buffering};`,
    `proxy_request_buffering ${buffering};`,
    ...(isFault("buffering proxy") ? ["proxy_ignore_headers X-Accel-Buffering;"] : []),
    ...(isFault("cookie stripped") ? ['proxy_set_header Cookie "";'] : []),
    ...(isFault("sticky cookie of the front")
      ? ['add_header Set-Cookie "route=$upstream_addr; Path=/" always;']
      : []),
  ];
  const text = `
daemon off;
# One process, so that none is left over.
master_process off;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 1000; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream edge { ${isFault("sticky cookie of the front") ? "hash $cookie_route;" : ""} ${servers} keepalive 16; }
  server {
    listen 127.0.0.1:${port}${tls === undefined ? "" : " ssl"};
    ${tls === undefined ? "" : `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};`}
    client_max_body_size ${isFault("body limit") ? "1m" : "20m"};
    location / {
      proxy_pass http://edge;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      ${lines.join("\n      ")}
    }
  }
}
`;
  return {
    file: "nginx.conf",
    text,
    command: (path: string) => ["nginx", "-p", folder, "-c", path],
  };
}

function configureHaproxy({ port, balancers, fault, tls }: FrontOptions) {
  const isFault = (name: FrontFault): boolean => fault === name;
  const isSticky = isFault("sticky cookie of the front");
  const idle = isFault("30 s idle cut") ? "30s" : "90s";
  const rules = [
    ...(isFault("front without upgrade")
      ? ["http-request del-header Upgrade", "http-request del-header Connection"]
      : []),
    ...(isFault("cookie stripped") ? ["http-request del-header Cookie"] : []),
    ...(isFault("buffering proxy")
      ? ["option http-buffer-request", "http-response wait-for-body time 20s"]
      : []),
    ...(isFault("body limit")
      ? ["http-request deny deny_status 413 if { req.hdr_val(content-length) gt 1048576 }"]
      : []),
  ];
  const text = `
defaults
    mode http
    timeout connect 2s
    timeout client ${idle}
    timeout server ${idle}
    timeout tunnel ${isFault("30 s idle cut") ? "30s" : "1h"}
    option forwardfor
frontend edge
    bind 127.0.0.1:${port}${tls === undefined ? "" : ` ssl crt ${tls.both}`}
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    ${rules.join("\n    ")}
    default_backend balancers
backend balancers
    balance roundrobin
    ${isSticky ? "cookie SERVERID insert indirect nocache" : ""}
    ${balancers
      .map((balancer, i) => `server s${i} 127.0.0.1:${balancer}${isSticky ? ` cookie s${i}` : ""}`)
      .join("\n    ")}
`;
  return {
    file: "haproxy.cfg",
    text,
    command: (path: string) => ["haproxy", "-db", "-f", path],
  };
}

function configureCaddy({ port, balancers, fault, tls }: FrontOptions) {
  const isFault = (name: FrontFault): boolean => fault === name;
  const site = [
    ...(tls === undefined ? [] : [`tls ${tls.cert} ${tls.key}`]),
    ...(isFault("front without upgrade")
      ? ["request_header -Upgrade", "request_header -Connection"]
      : []),
    ...(isFault("cookie stripped") ? ["request_header -Cookie"] : []),
    ...(isFault("body limit") ? ["request_body {\n    max_size 1MB\n  }"] : []),
  ];
  const proxy = [
    `lb_policy ${isFault("sticky cookie of the front") ? "cookie lb" : "round_robin"}`,
    ...(isFault("buffering proxy") ? ["buffer_requests", "buffer_responses"] : []),
    ...(isFault("30 s idle cut")
      ? ["transport http {\n      response_header_timeout 30s\n      read_timeout 30s\n    }"]
      : []),
  ];
  const text = `
{
  admin off
  auto_https off
  skip_install_trust
}
${tls === undefined ? "http" : "https"}://localhost:${port} {
  bind 127.0.0.1
  ${site.join("\n  ")}
  reverse_proxy ${balancers.map((balancer) => `127.0.0.1:${balancer}`).join(" ")} {
    ${proxy.join("\n    ")}
  }
}
`;
  return {
    file: "Caddyfile",
    text,
    command: (path: string) => ["caddy", "run", "--adapter", "caddyfile", "--config", path],
  };
}
