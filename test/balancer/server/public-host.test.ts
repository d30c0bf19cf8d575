/** Where the public ports listen, and how IPv4 clients of IPv6 sockets are seen. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openPublic } from "../../../balancer/server/public-host.ts";
import { createNetTransport } from "../../../balancer/transport/net.ts";
import type { Transport } from "../../../balancer/transport/transport.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { loopbacks } from "../../support/ports.ts";
import { listen } from "../../support/servers.ts";
import { connectRaw } from "../../support/sockets.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import {
  ok,
  type Rig,
  type RigOptions,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

const GET = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const certificate = await makeCertificate();

/** A balancer whose worker responds with X-Real-IP and X-Forwarded-For. */
async function start(options: RigOptions): Promise<Rig> {
  const worker = await startSimpleWorker((head) => {
    const value = (name: string): string =>
      new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1]?.trim() ?? "";
    return ok(`${value("X-Real-IP")} of ${value("X-Forwarded-For")}`);
  });
  return startRig({ certificate, workers: [workerRecord("w1", worker.port)], ...options });
}

async function ask(rig: Rig, host: string, secure: boolean, request = GET): Promise<string> {
  const port = secure ? (rig.path.listener.tlsPort ?? 0) : rig.port;
  const client = await (secure ? connectRaw({ port, host, tls: {} }) : rig.client(port, host));
  client.write(request);
  await client.end();
  client.socket.destroy();
  return client.text.slice(client.text.indexOf("\r\n\r\n") + 4);
}

/** The system's sockets, for a machine on which `host` cannot be opened. */
function without(host: string, code: string): { transport: Transport; tried: string[] } {
  const real = createNetTransport({ reportBug() {} });
  const tried: string[] = [];
  const transport: Transport = {
    dial: (address, outcome) => real.dial(address, outcome),
    async listen(options) {
      tried.push(options.host);
      if (options.host === host) throw Object.assign(new Error(`listen ${code} ${host}`), { code });
      return real.listen(options);
    },
  };
  return { transport, tried };
}

describe("without CT_BIND", () => {
  test("without CT_BIND both ports listen on every loopback address, and log IPv4 clients as IPv4", async () => {
    const rig = await start({ bind: undefined });
    for (const host of loopbacks()) {
      for (const secure of [false, true]) {
        expect(await ask(rig, host, secure), `${host}, ${secure}`).toBe(`${host} of ${host}`);
      }
    }
  });

  test("without CT_BIND IPv4 clients are IPv4 in trust decisions and in logs", async () => {
    const logDir = tempFolder();
    const rig = await start({ bind: undefined, trusted: ["127.0.0.1"], logDir });
    const said = GET.replace("Connection", "X-Forwarded-For: 203.0.113.9\r\nConnection");
    expect(await ask(rig, "127.0.0.1", false, said)).toBe("203.0.113.9 of 203.0.113.9, 127.0.0.1");
    await ask(rig, "127.0.0.1", false, "GET /bad\r\n\r\n");
    const read = (name: string) => readFile(join(logDir, name), "utf8");
    await expect.poll(() => read("access.log")).toMatch(/^203\.0\.113\.9 - /);
    await expect.poll(() => read("access.log")).toMatch(/^127\.0\.0\.1 - .*"GET \/bad"/m);
    await expect.poll(() => read("error.log")).toContain("client: 127.0.0.1,");
    expect((await read("access.log")) + (await read("error.log"))).not.toContain("ffff");
  });

  test.each(["EAFNOSUPPORT", "EADDRNOTAVAIL", "EINVAL", "EPERM"])(
    "without CT_BIND, where IPv6 is off (%s), both ports listen on IPv4",
    async (code) => {
      const { transport, tried } = without("::", code);
      const rig = await start({ bind: undefined, transport });
      expect(tried).toEqual(["::", "0.0.0.0", "0.0.0.0"]);
      expect(rig.path.listener.host).toBe("0.0.0.0");
      for (const secure of [false, true]) {
        expect(await ask(rig, "127.0.0.1", secure)).toBe("127.0.0.1 of 127.0.0.1");
      }
    },
  );

  test.each(["127.0.0.1", "0.0.0.0"])(
    "a port in use at %s is an error, not a reason to try IPv4",
    async (host) => {
      const port = await listen(createServer(), 0, host);
      await expect(startRig({ bind: undefined, port })).rejects.toThrow(
        `CT_PORT=${port}: already in use`,
      );
    },
  );

  test("several balancers that pick free ports serve all of them", async () => {
    const rigs = await Promise.all(Array.from({ length: 4 }, () => start({ bind: undefined })));
    const ports = rigs.flatMap((rig) => [rig.port, rig.path.listener.tlsPort]);
    expect(new Set(ports).size).toBe(8);
    for (const rig of rigs) {
      for (const host of loopbacks())
        expect(await ask(rig, host, false)).toBe(`${host} of ${host}`);
    }
  });
});

test("CT_BIND=0.0.0.0 listens on IPv4 only, on both ports", async () => {
  const rig = await start({ bind: "0.0.0.0" });
  expect(await ask(rig, "127.0.0.1", true)).toBe("127.0.0.1 of 127.0.0.1");
  for (const port of [rig.port, rig.path.listener.tlsPort]) {
    // ENETUNREACH and the like where IPv6 is off.
    await expect(rig.client(port, "::1")).rejects.toThrow(/^connect E[A-Z]+ ::1/);
  }
});

test.each([
  ["::", "EAFNOSUPPORT"],
  ["203.0.113.1", "EADDRNOTAVAIL"],
])(
  "CT_BIND=%s is the only address that is tried; the error names it when the machine does not have it (%s)",
  async (bind, code) => {
    const { transport, tried } = without(bind, code);
    await expect(startRig({ bind, transport })).rejects.toThrow(
      `CT_BIND=${bind}: this machine does not have that address (${code}); name one that it has, or leave CT_BIND out`,
    );
    expect(tried).toEqual([bind]);
  },
);

test("a port without permission is not tried at another address", async () => {
  const problem = Object.assign(new Error("no permission"), { code: "EACCES" });
  const tried: string[] = [];
  const open = (host: string): Promise<void> => {
    tried.push(host);
    return Promise.reject(problem);
  };
  await expect(openPublic(undefined, open)).rejects.toBe(problem);
  expect(tried).toEqual(["::"]);
});
