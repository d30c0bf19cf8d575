/**
 * Certificates that an edge obtains itself, from a real authority: three balancers behind a TCP balancer that takes turns. Takes
 * root, because authorities verify names on ports 80 and 443.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { beforeAll, describe, expect, test } from "vitest";
import { type Authority, canBeAuthority, startAuthority } from "../support/caddy-authority.ts";
import { type Cluster, type Member, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { startEdge as startOneMachineEdge } from "../support/edge-process.ts";
import { freePort } from "../support/ports.ts";
import { openPublicAddress, type PublicAddress } from "../support/public-address.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

interface Edge {
  readonly cluster: Cluster;
  readonly address: PublicAddress;
  addBalancer(): Promise<Member>;
  /** Of the certificates that clients get at the balancers. */
  serials(): Promise<string[]>;
  /** The newest line of its balancers with this text. */
  lastLine(text: string): { readonly balancer: Member; readonly line: string } | undefined;
  /** `ct-edge certificate`. */
  command(...args: string[]): ReturnType<typeof runCommand>;
}

describe.skipIf(!canBeAuthority("certificates from an authority"))("an authority", () => {
  /** Each edge has a name of its own: a name that was verified is not verified again for an hour. */
  const addresses: PublicAddress[] = [];
  let authority: Authority;
  let edge: Edge;

  beforeAll(async () => {
    for (let index = 0; index < 5; index++) addresses.push(await openPublicAddress());
    authority = await startAuthority(
      Object.fromEntries(addresses.map(({ address }, index) => [nameOf(index), address])),
    );
    edge = await startEdge(0, 1);
  }, 60_000);

  const nameOf = (index: number): string => `edge-${index}.test`;

  /** Without balancers. */
  async function startEdge(index: number, workers = 0): Promise<Edge> {
    const name = nameOf(index);
    const address = addresses[index];
    if (address === undefined) throw new Error("no such address");
    const dataDir = tempFolder();
    const cluster = await startCluster({
      workers,
      balancers: 0,
      env: {
        CT_ACME_DOMAINS: name,
        CT_ACME_URL: authority.directoryUrl,
        CT_ACME_CA: authority.rootFile,
        CT_ACME_EMAIL: "operator@example.com",
        CT_DATA_DIR: dataDir,
      },
    });
    return {
      cluster,
      address,
      async addBalancer() {
        // Known beforehand, as to a TCP balancer.
        const [http, tls] = [await freePort(), await freePort()];
        address.http.push(http);
        address.tls.push(tls);
        return cluster.addBalancer({
          env: { CT_PORT: String(http), CT_TLS_PORT: String(tls) },
        });
      },
      serials: () =>
        Promise.all(
          cluster.balancers.map(({ tlsPort }) => serialAt(tlsPort, name, authority.rootFile)),
        ),
      lastLine(text) {
        const lines = cluster.balancers.flatMap((balancer) =>
          balancer
            .output()
            .split("\n")
            .filter((line) => line.includes(text))
            .map((line) => ({ balancer, line })),
        );
        return lines.sort((one, other) => (one.line < other.line ? -1 : 1)).at(-1);
      },
      command: (...args) =>
        runCommand(["certificate", ...args], { CT_REDIS_URL: cluster.redisUrl }),
    };
  }

  test("one order of the leader serves three balancers", async () => {
    await Promise.all([edge.addBalancer(), edge.addBalancer(), edge.addBalancer()]);
    const first = await until("a balancer has a certificate", () =>
      Promise.any(
        edge.cluster.balancers.map(({ tlsPort }) =>
          serialAt(tlsPort, nameOf(0), authority.rootFile),
        ),
      ),
    );
    const sinceMs = performance.now();
    await until("all have it", async () => (await edge.serials()).every((one) => one === first));
    expect(performance.now() - sinceMs).toBeLessThan(5000);
    expect(authority.orders()).toBe(1);
  }, 60_000);

  test("the command shows until when the certificate is valid, and when it is renewed", async () => {
    const { stdout, status } = await until("a balancer reports it", async () => {
      const result = await edge.command();
      return result.stdout.includes("until") && result;
    });
    expect(stdout).toMatch(/^names {7}edge-0\.test\nvalid {7}until 20\S+\nnext order {2}20\S+\n$/);
    expect(status).toBe(0);
  });

  test("a renewal under load fails no handshake, and all balancers serve it within 5 s", async () => {
    const [before] = await edge.serials();
    const orders = authority.orders();
    const load = startHandshakes(edge.address.address, nameOf(0), authority.rootFile);
    await until("handshakes succeed", () => load.succeeded() > 50);
    expect((await edge.command("--renew")).stdout).toBe("the certificate is being ordered\n");
    const renewed = await until("a balancer has another one", async () =>
      (await edge.serials()).find((one) => one !== before),
    );
    const sinceMs = performance.now();
    await until("all have it", async () => (await edge.serials()).every((one) => one === renewed));
    expect(performance.now() - sinceMs).toBeLessThan(5000);
    const { failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(load.succeeded()).toBeGreaterThan(200);
    expect(authority.orders()).toBe(orders + 1);
  }, 60_000);

  test("a balancer that starts while the store is away serves the certificate that it has kept", async () => {
    const [before] = await edge.serials();
    edge.cluster.redis.pause();
    try {
      const fresh = await edge.addBalancer();
      expect(await serialAt(fresh.tlsPort, nameOf(0), authority.rootFile)).toBe(before);
    } finally {
      edge.cluster.redis.resume();
    }
  }, 60_000);

  test("when the leader is killed in the middle of an order, the next one goes on with it", async () => {
    const other = await startEdge(1);
    const orders = authority.orders();
    other.address.isHeld = true;
    await Promise.all([other.addBalancer(), other.addBalancer()]);
    await until("the authority asks for the challenge", () => other.address.accepted.http > 0);
    const leader = other.lastLine("ordering a certificate")?.balancer;
    await leader?.kill();
    const left = other.cluster.balancers.filter((one) => one !== leader);
    other.cluster.balancers.splice(0, 2, ...left);
    other.address.isHeld = false;
    await until("the other has a certificate", () => other.serials(), 30_000);
    expect(other.lastLine("certificate issued")?.balancer).not.toBe(leader);
    expect(authority.orders()).toBe(orders + 1);
  }, 60_000);

  test("a store that goes away just after an order, and comes back empty, loses neither the certificate nor the account", async () => {
    const other = await startEdge(2);
    const orders = authority.orders();
    other.address.isHeld = true;
    await Promise.all([other.addBalancer(), other.addBalancer()]);
    await until("the authority asks for the challenge", () => other.address.accepted.http > 0);
    // The response is in the store, so it must be asked for before the store is gone.
    other.address.isHeld = false;
    await until("a balancer has a certificate", () =>
      Promise.any(
        other.cluster.balancers.map(({ tlsPort }) =>
          serialAt(tlsPort, nameOf(2), authority.rootFile),
        ),
      ),
    );
    await other.cluster.redis.kill();
    await other.cluster.redis.start();
    const kept = (): Promise<number> => other.cluster.redis.admin().exists("{ct}:stream:acme");
    await until("the store has it again", async () => (await kept()) === 1, 40_000);
    await until("all have the same", async () => new Set(await other.serials()).size === 1);
    expect(authority.orders()).toBe(orders + 1);
  }, 90_000);

  test("an edge on one machine obtains its certificate too, and has it again after a restart", async () => {
    const address = addresses[4];
    if (address === undefined) throw new Error("no such address");
    const ports = { CT_PORT: await freePort(), CT_TLS_PORT: await freePort() };
    address.http.push(ports.CT_PORT);
    address.tls.push(ports.CT_TLS_PORT);
    const orders = authority.orders();
    const env = {
      CT_PORT: String(ports.CT_PORT),
      CT_TLS_PORT: String(ports.CT_TLS_PORT),
      CT_ACME_DOMAINS: nameOf(4),
      CT_ACME_URL: authority.directoryUrl,
      CT_ACME_CA: authority.rootFile,
    };
    const alone = await startOneMachineEdge({ env });
    await until("it says where it is", () =>
      alone.output().includes(`https://${nameOf(4)}/dashboard`),
    );
    const serial = (): Promise<string> =>
      serialAt(ports.CT_TLS_PORT, nameOf(4), authority.rootFile);
    const first = await until("it has a certificate", serial);
    await alone.stop();
    const check = await runCommand(["check"], { ...env, CT_DATA_DIR: alone.dataDir });
    expect(check.stdout).toMatch(
      /^certificate obtained {12}edge-4\.test, until 20\S+, next order 20/m,
    );
    await alone.startAgain();
    expect(await serial()).toBe(first);
    expect(authority.orders()).toBe(orders + 1);
  }, 60_000);

  test("where no port leads to the edge, one line says why and when it is tried again; where only 443 does, that is enough", async () => {
    const other = await startEdge(3);
    await Promise.all([other.addBalancer(), other.addBalancer()]);
    const { http, tls } = other.address;
    const closed = [http.splice(0), tls.splice(0)];
    // The first order may have been quicker.
    await other.command("--renew");
    const failed = await until("the order has failed", () =>
      other.lastLine("HTTPS does not work until there is one"),
    );
    expect(failed.line).toMatch(/edge-3\.test by http-01: .* · edge-3\.test by tls-alpn-01: /);
    expect(failed.line).toContain("retry=");
    const shown = await until("the command shows it", async () => {
      const result = await other.command();
      return result.stdout.includes("failed") && result;
    });
    expect(shown.status).toBe(1);
    const lines = other.cluster.balancers.flatMap(
      (one) => one.output().match(/no certificate;/g) ?? [],
    );
    expect(lines).toHaveLength(1);

    tls.push(...(closed[1] ?? []));
    await other.command("--renew");
    await until("all have a certificate", () => other.serials());
    expect(other.lastLine("certificate issued")?.line).toContain("challenge=tls-alpn-01");
  }, 90_000);
});

/** The serial number of the certificate that a client gets at this port. Rejects when the handshake fails. */
function serialAt(port: number, servername: string, rootFile: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const ca = readFileSync(rootFile);
    const socket = connect({ port, host: "127.0.0.1", servername, ca }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

const PER_SECOND = 200;

/** New connections, `PER_SECOND`, each with a request. */
function startHandshakes(address: string, servername: string, rootFile: string) {
  const ca = readFileSync(rootFile);
  const failures: string[] = [];
  const pending = new Set<Promise<void>>();
  let succeeded = 0;
  const request = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ port: 443, host: address, servername, ca }, () => {
        socket.write(`GET /ct-health HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
      });
      let response = "";
      socket.setEncoding("latin1").on("data", (more: string) => {
        response += more;
      });
      socket.once("error", (error) => failures.push(error.message));
      socket.once("close", () => {
        if (response.startsWith("HTTP/1.1 200")) succeeded++;
        else failures.push(response.slice(0, 100));
        resolve();
      });
    });
  const startMs = performance.now();
  let begun = 0;
  const timer = setInterval(() => {
    // As many as are due: the interval alone would fall behind.
    for (; begun < ((performance.now() - startMs) / 1000) * PER_SECOND; begun++) {
      const one = request().finally(() => pending.delete(one));
      pending.add(one);
    }
  }, 5);
  return {
    succeeded: () => succeeded,
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      return { failures };
    },
  };
}
