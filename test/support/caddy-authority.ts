/**
 * A certificate authority on this machine that speaks ACME: Debian's Caddy with `acme_server`. It verifies names on ports 80 and
 * 443, at the addresses that a hosts file of its own gives them, which takes a mount namespace and root.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";
import { hasProgram } from "./debian.ts";
import { outputOf } from "./output.ts";
import { freePort } from "./ports.ts";
import { tempFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export interface Authority {
  readonly directoryUrl: string;
  /** PEM file of its root. */
  readonly rootFile: string;
  /** Orders that were begun so far. */
  orders(): number;
}

/** Whether one can be started; otherwise says loudly why not. */
export function canBeAuthority(leftOut: string): boolean {
  if (process.getuid?.() !== 0) {
    process.stderr.write(
      `SKIPPED: ${leftOut}, because it takes root: ports 80 and 443, and a mount namespace\n`,
    );
    return false;
  }
  return hasProgram("caddy", ["caddy"], leftOut);
}

export async function startAuthority(
  addresses: Readonly<Record<string, string>>,
): Promise<Authority> {
  const folder = tempFolder();
  const [port, httpPort] = [await freePort(), await freePort()];
  const accessLog = join(folder, "access.log");
  const hosts = Object.entries(addresses).map(([name, address]) => `${address} ${name}\n`);
  writeFileSync(join(folder, "hosts"), `127.0.0.1 localhost\n${hosts.join("")}`);
  writeFileSync(
    join(folder, "Caddyfile"),
    `{
  admin off
  skip_install_trust
  auto_https disable_redirects
  http_port ${httpPort}
  https_port ${port}
}
https://localhost:${port} {
  bind 127.0.0.1
  tls internal
  log {
    output file ${accessLog}
  }
  acme_server
}
`,
  );
  const script = `mount --bind "$1/hosts" /etc/hosts && exec caddy run --adapter caddyfile --config "$1/Caddyfile"`;
  const child = spawn("unshare", ["--mount", "sh", "-c", script, "sh", folder], {
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      XDG_DATA_HOME: folder,
      XDG_CONFIG_HOME: folder,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const output = outputOf(child);
  const ended = once(child, "close");
  atEnd(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const rootFile = join(folder, "caddy/pki/authorities/local/root.crt");
  await until(`the authority has a root, but said ${output.stderr}`, () => {
    if (child.exitCode !== null) throw new Error(output.stderr);
    return existsSync(rootFile) && output.stderr.includes("certificate obtained successfully");
  });
  return {
    directoryUrl: `https://localhost:${port}/acme/local/directory`,
    rootFile,
    orders() {
      const text = existsSync(accessLog) ? readFileSync(accessLog, "utf8") : "";
      return text.split("\n").filter((line) => line.includes("/acme/local/new-order")).length;
    },
  };
}
