/** What a certificate authority asks at the public ports, and that everybody else is served as always meanwhile. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { parseCertificate } from "../../../balancer/certificates/certificates.ts";
import { makeCertificate, type PemPair } from "../../support/certificates.ts";
import { ok, type Rig, startRig, startSimpleWorker, workerRecord } from "../rig.ts";

const own = await makeCertificate({ names: ["edge.test"] });
const challenge = await makeCertificate({ names: ["challenge.test"] });

/** `pair`: of normal clients; "none": there is no certificate yet. */
async function start(pair: PemPair | "none" = own): Promise<Rig> {
  const worker = await startSimpleWorker(() => ok("fine"));
  return startRig({
    workers: [workerRecord("w1", worker.port)],
    certificates: pair === "none" ? [] : [parseCertificate(pair.cert, pair.key)],
    challenges: {
      httpResponse: async (token) => (token === "known" ? "known.thumbprint" : undefined),
      tlsCertificate: async (name) => (name === "edge.test" ? challenge : undefined),
    },
  });
}

interface Shaken {
  readonly name: string;
  readonly protocol: string | false | null;
  readonly socket: TLSSocket;
}

function shake(
  rig: Rig,
  options: { readonly ALPNProtocols?: string[]; readonly servername?: string; socket?: Socket },
): Promise<Shaken> {
  const { tlsPort: port = 0 } = rig.path.listener;
  return new Promise((resolve, reject) => {
    const socket = connect(
      { port, host: "127.0.0.1", rejectUnauthorized: false, ...options },
      () => {
        const name = socket.getPeerX509Certificate()?.subject.replace("CN=", "") ?? "";
        resolve({ name, protocol: socket.alpnProtocol, socket });
      },
    );
    socket.once("error", reject);
    onTestFinished(() => void socket.destroy());
  });
}

test("an authority that speaks only acme-tls/1 gets the certificate of the challenge, and nothing else", async () => {
  const rig = await start();
  const { name, protocol, socket } = await shake(rig, {
    ALPNProtocols: ["acme-tls/1"],
    servername: "edge.test",
  });
  expect({ name, protocol }).toEqual({ name: "challenge.test", protocol: "acme-tls/1" });
  const ended = new Promise((resolve) => socket.once("end", resolve));
  socket.resume();
  await ended;
});

test("all other clients get the edge's own certificate, also one that offers the authority's protocol among others", async () => {
  const rig = await start();
  for (const ALPNProtocols of [["http/1.1"], ["acme-tls/1", "http/1.1"], undefined]) {
    const { name } = await shake(rig, {
      servername: "edge.test",
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    expect(name).toBe("edge.test");
  }
});

test("a handshake for a name without a challenge, or without a name, fails and is counted", async () => {
  const rig = await start();
  const ALPNProtocols = ["acme-tls/1"];
  await expect(shake(rig, { ALPNProtocols, servername: "other.test" })).rejects.toThrow();
  await expect(shake(rig, { ALPNProtocols })).rejects.toThrow();
  expect(rig.counters.value("balancer.refused", "tls handshake")).toBe(2);
});

test("before there is a certificate, only challenges succeed, and the first one is used at once", async () => {
  const rig = await start("none");
  await expect(shake(rig, { servername: "edge.test" })).rejects.toThrow();
  const { name } = await shake(rig, { ALPNProtocols: ["acme-tls/1"], servername: "edge.test" });
  expect(name).toBe("challenge.test");
  rig.path.listener.useCertificates([parseCertificate(own.cert, own.key)]);
  expect((await shake(rig, { servername: "edge.test" })).name).toBe("edge.test");
});

test("a first message in many pieces is understood", async () => {
  const rig = await start();
  for (const [ALPNProtocols, wanted] of [
    [["acme-tls/1"], "challenge.test"],
    [["http/1.1"], "edge.test"],
  ] as const) {
    const { tlsPort: port = 0 } = rig.path.listener;
    const tcp = connectTcp(port, "127.0.0.1");
    tcp.setNoDelay();
    const write = tcp.write.bind(tcp);
    // Byte by byte, each in a turn of the event loop of its own.
    let pieces = Promise.resolve();
    tcp.write = ((bytes: Buffer, ...rest: unknown[]) => {
      const done = rest.find((one) => typeof one === "function") as (() => void) | undefined;
      for (const byte of bytes) {
        pieces = pieces.then(() => {
          write(Buffer.from([byte]));
          return new Promise((resolve) => setImmediate(resolve));
        });
      }
      void pieces.then(() => done?.());
      return true;
    }) as typeof tcp.write;
    const { name } = await shake(rig, {
      socket: tcp,
      servername: "edge.test",
      ALPNProtocols: [...ALPNProtocols],
    });
    expect(name).toBe(wanted);
  }
});

test("the response to a challenge over HTTP is the balancer's own, and unknown ones are not found", async () => {
  const rig = await start();
  const client = await rig.client();
  const ask = (target: string): void =>
    client.write(`GET ${target} HTTP/1.1\r\nHost: edge.test\r\n\r\n`);
  ask("/.well-known/acme-challenge/known");
  const found = await client.head();
  expect(found).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(found).toContain("Content-Type: text/plain; charset=utf-8");
  expect(client.text).toBe("known.thumbprint");
  client.text = "";
  ask("/.well-known/acme-challenge/unknown");
  expect(await client.head()).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  client.text = "";
  ask("/");
  expect(await client.head()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
});
