/**
 * HAProxy as a TCP balancer in front of two balancers with CT_PROXY_PROTOCOL, by the configuration of deploy/front/: TLS passes
 * through, and the edge knows the client's address, of unmodified clients too.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { generate } from "selfsigned";
import { Agent, fetch } from "undici";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Cluster, type Member, sees, startCluster } from "../support/cluster.ts";
import { hasProgram } from "../support/debian.ts";
import { outputOf } from "../support/output.ts";
import { expectMainJob } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Another address of the loopback interface than HAProxy's, from which the client comes. */
const CLIENT = "127.0.0.2";

let cluster: Cluster;
let ca: string;
const logs: string[] = [];

beforeAll(async () => {
  const folder = tempFolder();
  const made = await generate([{ name: "commonName", value: "localhost" }], {
    keySize: 2048,
    extensions: [
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
  });
  ca = made.cert;
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  writeFileSync(cert, made.cert);
  writeFileSync(key, made.private);
  cluster = await startCluster({ workers: 2, balancers: 0 });
  for (const name of ["one", "two"]) {
    logs.push(join(folder, name));
    await cluster.addBalancer({
      env: {
        CT_TRUSTED_PROXIES: "127.0.0.1",
        CT_PROXY_PROTOCOL: "on",
        CT_TLS_CERT: cert,
        CT_TLS_KEY: key,
        CT_LOG_DIR: join(folder, name),
      },
    });
  }
  for (const balancer of cluster.balancers) await sees(balancer, 2);
});

/** HAProxy by deploy/front/haproxy-tcp.cfg, unchanged but for addresses and `directive`. */
async function startHaproxy(directive: string): Promise<{ plain: string; tls: string }> {
  const folder = tempFolder();
  const [plainPort, tlsPort] = [await freePort(), await freePort()];
  const source = readFileSync(
    new URL("../../deploy/front/haproxy-tcp.cfg", import.meta.url),
    "utf8",
  );
  const [one, two] = cluster.balancers as [Member, Member];
  const config = source
    .replace("bind :80", `bind 127.0.0.1:${plainPort}`)
    .replace("bind :443", `bind 127.0.0.1:${tlsPort}`)
    .replace("10.0.0.1:1080", `127.0.0.1:${one.port}`)
    .replace("10.0.0.2:1080", `127.0.0.1:${two.port}`)
    .replace("10.0.0.1:1443", `127.0.0.1:${one.tlsPort}`)
    .replace("10.0.0.2:1443", `127.0.0.1:${two.tlsPort}`)
    .replaceAll("send-proxy-v2", directive);
  const path = join(folder, "haproxy.cfg");
  writeFileSync(path, config);
  const child = spawn("haproxy", ["-db", "-f", path], { stdio: ["ignore", "ignore", "pipe"] });
  const output = outputOf(child);
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await exited;
  });
  const urls = { plain: `http://127.0.0.1:${plainPort}`, tls: `https://localhost:${tlsPort}` };
  await until("HAProxy answers on both ports", async () => {
    if (child.exitCode !== null) throw new Error(output.stderr);
    const answers = await Promise.all(Object.values(urls).map((url) => ask(url)));
    return answers.every((status) => status === 200);
  });
  return urls;
}

/** From the client's address. */
async function ask(url: string, path = "/api/meta"): Promise<number> {
  const agent = new Agent({ localAddress: CLIENT, connect: { ca }, pipelining: 0 });
  try {
    const response = await fetch(url + path, { dispatcher: agent });
    await response.text();
    return response.status;
  } finally {
    await agent.close();
  }
}

function accessLogs(): string {
  return logs.map((folder) => readFileSync(join(folder, "access.log"), "utf8")).join("");
}

if (hasProgram("haproxy", ["haproxy"], "the PROXY protocol of HAProxy")) {
  describe.each([
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id",
  ])("with %s", (directive) => {
    test("the client's address is known on both ports behind a proxy, and people do the main job", async () => {
      const { plain, tls } = await startHaproxy(directive);
      const name = directive.replaceAll(/[^a-z0-9]/g, "");
      expect(await ask(plain, `/api/meta?plain-${name}`)).toBe(200);
      expect(await ask(tls, `/api/meta?tls-${name}`)).toBe(200);
      for (const asked of [`plain-${name}`, `tls-${name}`]) {
        await until(asked, () => accessLogs().includes(asked));
        const line =
          accessLogs()
            .split("\n")
            .find((one) => one.includes(asked)) ?? "";
        expect(line.startsWith(`${CLIENT} `)).toBe(true);
      }
      await expectMainJob(plain, 2);
    });
  });

  test("a client that goes past HAProxy is served under its own address, and cannot take another", async () => {
    const [balancer] = cluster.balancers as [Member];
    expect(await ask(balancer.url, "/api/meta?past")).toBe(200);
    const socket = connect({ host: "127.0.0.1", port: balancer.port, localAddress: CLIENT });
    onTestFinished(() => void socket.destroy());
    let text = "";
    socket.setEncoding("latin1").on("data", (part: string) => {
      text += part;
    });
    socket.write(
      "PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\nGET /api/meta?forged HTTP/1.1\r\nHost: e\r\n\r\n",
    );
    await once(socket, "end");
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    await until(
      "both are logged",
      () => /past/.test(accessLogs()) && /PROXY TCP4/.test(accessLogs()),
    );
    expect(accessLogs()).not.toMatch(/^203\.0\.113\.9/m);
  });
}
