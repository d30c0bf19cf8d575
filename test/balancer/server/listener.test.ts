import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer as createNetServer } from "node:net";
import { join } from "node:path";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Certificate,
  type CertificateFiles,
  expiresInMs,
  loadCertificates,
  signatureOf,
  watchCertificates,
} from "../../../balancer/certificates/certificates.ts";
import { connectionLimit } from "../../../balancer/server/connection-limit.ts";
import { switching, upgrade } from "../../conformance/case.ts";
import { atEnd } from "../../support/at-end.ts";
import { makeCertificate, type PemPair } from "../../support/certificates.ts";
import { collectingLog, silentLog } from "../../support/logs.ts";
import { watchMachine } from "../../support/machine.ts";
import { listen } from "../../support/servers.ts";
import { connectRaw, type RawSocket, type RawTarget } from "../../support/sockets.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import {
  ok,
  type Rig,
  type RigOptions,
  startRawRig,
  startRig,
  startSimpleRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

const machine = watchMachine();
let certificates: readonly Certificate[];
let folder: string;

beforeAll(async () => {
  folder = tempFolder();
  certificates = loadCertificates(await writePair("first", await makeCertificate()));
});

/** A certificate and its key as files. */
async function writePair(name: string, made: PemPair): Promise<CertificateFiles> {
  const cert = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key.pem`);
  await writeFile(cert, made.cert);
  await writeFile(key, made.key);
  return { cert: [cert], key: [key] };
}

/** A certificate for these names. */
function makeFor(...names: string[]): Promise<PemPair> {
  return makeCertificate({ names });
}

async function simple(options: RigOptions = {}, response = (): string => ok("fine")): Promise<Rig> {
  const worker = await startSimpleWorker(response);
  return startRig({ ...options, workers: [workerRecord("w1", worker.port)] });
}

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

async function tlsClient(
  rig: Rig,
  options: ConnectionOptions & Exclude<RawTarget, number> = {},
): Promise<{ raw: RawSocket; tls: TLSSocket }> {
  const { port = rig.path.listener.tlsPort ?? 0, localAddress, localPort, ...tls } = options;
  const raw = await connectRaw({ port, localAddress, localPort, tls });
  return { raw, tls: raw.socket as TLSSocket };
}

/** A client that connects gets a response. */
async function isServed(connecting: ReturnType<typeof tlsClient>): Promise<void> {
  const { raw } = await connecting;
  raw.write(GET);
  await raw.has("fine");
}

describe("the HTTPS port", () => {
  test("the HTTPS port accepts TLS 1.2 and 1.3, and forwards the scheme https to the worker", async () => {
    const { rig } = await startSimpleRig(
      (head) => ok(/X-Forwarded-Proto: (\w+)/.exec(head)?.[1] ?? ""),
      { certificates },
    );
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const { raw, tls } = await tlsClient(rig, { minVersion: version, maxVersion: version });
      expect(tls.getProtocol()).toBe(version);
      raw.write(GET);
      await raw.has("https");
    }
  });

  test("the HTTPS port refuses TLS 1.1", async () => {
    const rig = await simple({ certificates });
    await expect(
      tlsClient(rig, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" }),
    ).rejects.toThrow();
    await expect.poll(() => rig.counters.value("balancer.refused", "tls handshake")).toBe(1);
  });

  test("the HTTPS port closes garbage, half a handshake and a silent client in time, and goes on", async () => {
    const rig = await simple({ certificates, limits: { tlsHandshakeTimeoutMs: 200 } });
    const port = rig.path.listener.tlsPort ?? 0;
    const starts = [
      "\0\0\0\0\0\0\0\0",
      "\x80\x2e\x01\x03\x01",
      "\x15\x03\x01\0\x02",
      "\x16\x03\x01\x02\x00",
      "\x16",
      "",
    ];
    for (const [done, bytes] of starts.entries()) {
      const client = await rig.client(port);
      if (bytes !== "") client.write(bytes);
      await client.end();
      expect(client.text).not.toContain("HTTP");
      await expect
        .poll(() => rig.counters.value("balancer.refused", "tls handshake"))
        .toBe(done + 1);
    }
    const gone = await rig.client(port);
    gone.socket.end();
    await gone.close();
    await expect.poll(() => rig.path.listener.connections).toBe(0);
    await isServed(tlsClient(rig));
  });

  test("a TLS handshake has one time limit, however its bytes come", async () => {
    const rig = await simple({ certificates, limits: { tlsHandshakeTimeoutMs: 400 } });
    const client = await rig.client(rig.path.listener.tlsPort);
    const startedMs = performance.now();
    const dripping = setInterval(() => client.write("\x16"), 100);
    await client.end().finally(() => clearInterval(dripping));
    // Twice as long when waiting for the first byte had a limit of its own.
    const silent = await rig.client(rig.path.listener.tlsPort);
    const silentFromMs = performance.now();
    await silent.end();
    expect(silentFromMs - startedMs).toBeLessThan(1.6 * (performance.now() - silentFromMs));
  });

  test("a TLS handshake may come byte by byte, and its time limit does not count for the request", async () => {
    const rig = await simple({ certificates, limits: { tlsHandshakeTimeoutMs: 3000 } });
    const slow = createNetServer((socket) => {
      const onward = connectTcp(rig.path.listener.tlsPort ?? 0, "127.0.0.1");
      onward.setNoDelay();
      socket.on("data", (bytes: Buffer) => {
        for (const byte of bytes) onward.write(Buffer.of(byte));
      });
      onward.on("data", (bytes: Buffer) => socket.write(bytes));
      socket.on("close", () => onward.destroy());
      onward.on("close", () => socket.destroy());
    });
    await isServed(tlsClient(rig, { port: await listen(slow) }));
  });

  test("a plain HTTP request to the HTTPS port gets an explanation, and error.log too", async () => {
    const logDir = tempFolder();
    const { worker, rig } = await startRawRig(undefined, { certificates, logDir });
    const port = rig.path.listener.tlsPort ?? 0;
    const bodied = "OPTIONS /x HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello";
    for (const parts of [[GET], GET.split(""), [bodied], [`\r\n${GET}`], [GET.repeat(3)]]) {
      const client = await rig.client(port);
      client.socket.setNoDelay();
      for (const part of parts) client.write(part);
      await client.end();
      expect(client.text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
      expect(client.text).toContain("Connection: close\r\n");
      expect(client.text).toContain(
        '"code":"EDGE_PLAIN_HTTP","params":[],"message":"This port speaks HTTPS. Use https:// in the URL."',
      );
      expect(client.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    }
    expect(rig.counters.value("balancer.refused", "plain HTTP")).toBe(5);
    expect(rig.counters.value("balancer.refused", "tls handshake")).toBe(0);
    expect(worker.connections).toEqual([]);
    await expect
      .poll(() => readFile(join(logDir, "error.log"), "utf8"))
      .toMatch(
        /\[info\] .* a client sent plain HTTP to the HTTPS port; use https:\/\/ there, or CT_PORT, client: 127\.0\.0\.1, .* request: "GET \/ HTTP\/1\.1"/,
      );
    await expect
      .poll(() => readFile(join(logDir, "access.log"), "utf8"))
      .toContain('"OPTIONS /x HTTP/1.0" 400 ');
  });

  test("the HTTPS port refuses invalid plain HTTP as the HTTP port does, and counts its clients", async () => {
    const rig = await simple({
      certificates,
      maxConnections: 2,
      limits: { headerTimeoutMs: 200, maxTargetBytes: 100 },
    });
    const port = rig.path.listener.tlsPort ?? 0;
    for (const [bytes, status] of [
      ["GET / HTTP/1.1\nHost: h\n\n", 400],
      [`GET /${"x".repeat(200)}`, 414],
    ] as const) {
      const client = await rig.client(port);
      client.write(bytes);
      await client.end();
      client.socket.destroy();
      expect(client.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    }
    await expect.poll(() => rig.path.listener.connections).toBe(0);
    const half = await rig.client(port);
    half.write("GET / HT");
    const other = await rig.client(port);
    other.write("GE");
    await expect.poll(() => rig.path.listener.connections).toBe(2);
    const third = await rig.client(port);
    await third.end();
    expect(third.text).toBe("");
    await half.end();
    await other.end();
    expect(half.text).toMatch(/^HTTP\/1\.1 408 /);
    half.socket.destroy();
    other.socket.destroy();
    await expect.poll(() => rig.path.listener.connections).toBe(0);
  });

  test("the HTTPS port serves a client that reconnects from the same port right after a reset", async () => {
    const rig = await simple({ certificates });
    // Not 127.0.0.1, where another process could get the port in between.
    const localAddress = "127.0.0.2";
    const port = rig.path.listener.tlsPort ?? 0;
    const socket = connectTcp({ port, host: "127.0.0.1", localAddress });
    await expect.poll(() => rig.path.listener.connections).toBe(1);
    const { localPort } = socket;
    socket.resetAndDestroy();
    await isServed(tlsClient(rig, { localAddress, localPort }));
  });

  test("the HTTPS port cuts a response such that the client notices", async () => {
    const { worker, rig } = await startRawRig(undefined, { certificates });
    const { raw } = await tlsClient(rig);
    raw.write(GET);
    const upstream = await worker.withHead(0);
    // This response has no length: it ends with the connection.
    upstream.write("HTTP/1.1 200 OK\r\n\r\nhalf");
    await raw.has("half");
    upstream.socket.resetAndDestroy();
    await raw.close();
    expect(raw.error).toBe("ECONNRESET");
    expect(raw.ended).toBe(false);
  });

  test("a tunnel over the HTTPS port moves 8 MiB each way", async () => {
    const { worker, rig } = await startRawRig(
      (socket) => {
        if (socket.takeHead() !== undefined) {
          socket.write(switching());
        }
      },
      { certificates },
    );
    const { raw } = await tlsClient(rig);
    raw.write(upgrade());
    await raw.head();
    const upstream = await worker.connection(0);
    const block = Buffer.alloc(8 * 1024 * 1024, "0123456789abc");
    raw.write(block);
    upstream.write(block);
    await until(
      "all of it",
      () => raw.text.length === block.length && upstream.text.length === block.length,
    );
    expect(raw.text === block.toString("latin1") && upstream.text === raw.text).toBe(true);
  }, 20_000);
});

describe("a PROXY protocol header", () => {
  const V1 = `PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n`;
  const V2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\xc3\x50\x04\x38";
  const HELLO = "\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03";

  test.each([
    ["of version 1", "HTTP", [V1 + GET]],
    ["of version 1 with IPv6", "HTTP", [`PROXY TCP6 2001:db8::9 ::1 1 2\r\n${GET}`]],
    ["of version 1 without addresses", "HTTP", [`PROXY UNKNOWN\r\n${GET}`]],
    ["of version 1, byte by byte", "HTTP", V1.split("")],
    ["of version 2", "HTTP", [V2 + GET]],
    ["of version 2, alone", "HTTP", [V2]],
    ["of version 2 without addresses", "HTTP", [`${V2.slice(0, 12)}\x20\0\0\0${GET}`]],
    ["of version 1", "HTTPS", [V1 + HELLO]],
    ["of version 2", "HTTPS", [V2 + HELLO]],
    ["of version 1, within TLS", "TLS", [V1 + GET]],
    ["of version 2, within TLS", "TLS", [V2 + GET]],
  ] as const)(
    "a PROXY protocol header %s on the %s port is refused, and error.log names it",
    async (_name, kind, parts) => {
      const logDir = tempFolder();
      const { worker, rig } = await startRawRig(undefined, {
        certificates,
        logDir,
        trusted: ["127.0.0.1"],
      });
      const port = kind === "HTTP" ? rig.port : rig.path.listener.tlsPort;
      const client = kind === "TLS" ? (await tlsClient(rig)).raw : await rig.client(port);
      client.socket.setNoDelay();
      for (const part of parts) client.write(part);
      await client.end();
      expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
      expect(client.text).toContain('"This port does not take the PROXY protocol."');
      expect(worker.connections).toEqual([]);
      expect(rig.counters.value("balancer.refused", "PROXY protocol")).toBe(1);
      await expect
        .poll(() => readFile(join(logDir, "error.log"), "utf8"))
        .toContain(
          "a client sent a PROXY protocol header, which is taken only with CT_PROXY_PROTOCOL=on, of peers in CT_TRUSTED_PROXIES, ",
        );
    },
  );

  test("a request with the method PROXY and two empty lines are not a PROXY protocol header", async () => {
    const rig = await simple();
    expect(await rig.ask("PROXY /TCP4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).toContain(
      "fine",
    );
    for (const bytes of ["\r\n\r\n", "\r\n\r\n\0\r\nQUIX\n", "PROXY TCP5 a b\r\n\r\n"]) {
      expect(await rig.ask(bytes)).toMatch(/^HTTP\/1\.1 400 /);
    }
    expect(rig.counters.value("balancer.refused", "PROXY protocol")).toBe(0);
  });
});

/** A private key with a passphrase, in PEM form. */
function lockedKey(type: "pkcs1" | "pkcs8" = "pkcs8"): string {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const how = { format: "pem", cipher: "aes-256-cbc", passphrase: "canary" } as const;
  return String(privateKey.export({ type, ...how }));
}

describe("certificates", () => {
  async function file(name: string, text: string): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  }

  test("certificates are loaded from PEM files; without any there is no HTTPS port", async () => {
    const rig = await simple({ certificates: loadCertificates({ cert: [], key: [] }) });
    expect(rig.path.listener.tlsPort).toBeUndefined();
    expect(new X509Certificate(certificates[0]?.cert ?? "").subject).toBe("CN=localhost");
  });

  test("an unusable certificate fails the start with the setting, the value and the fix", async () => {
    const { cert, key } = await writePair("good", await makeFor("good.example"));
    const text = await file("text.pem", "no certificate");
    const other = await writePair("other", await makeFor("other.example"));
    const missing = join(folder, "missing.pem");
    const load = (certFiles: readonly string[], keyFiles: readonly string[]) => () =>
      loadCertificates({ cert: certFiles, key: keyFiles });
    expect(load([missing], key)).toThrow(
      /^CT_TLS_CERT=.*missing.pem: it cannot be read \(ENOENT.*; name a PEM file/,
    );
    expect(load([text], key)).toThrow(/^CT_TLS_CERT=.*text.pem: it is not a PEM certificate; /);
    expect(load(cert, [text])).toThrow(
      /^CT_TLS_KEY=.*text.pem: it is not the private key of CT_TLS_CERT; /,
    );
    expect(load(cert, other.key)).toThrow(/^CT_TLS_KEY=.*other.key.pem: /);
    expect(load(cert, [])).toThrow(/^CT_TLS_KEY is not set, but CT_TLS_CERT is; /);
    expect(load([], key)).toThrow(/^CT_TLS_CERT is not set, but CT_TLS_KEY is; /);
    expect(load([...cert, ...other.cert], key)).toThrow(
      /^CT_TLS_CERT names 2 files and CT_TLS_KEY 1; /,
    );
  });

  test.each([
    { form: "PKCS#8", type: "pkcs8" },
    { form: "the older form of OpenSSL", type: "pkcs1" },
  ] as const)(
    "a key with a passphrase ($form) is an error that names the fix",
    async ({ type }) => {
      const encrypted = lockedKey(type);
      const { cert } = await writePair("locked", await makeFor("locked.example"));
      const crlf = `Bag Attributes\r\n${encrypted.replaceAll("\n", "\r\n")}`;
      for (const text of [encrypted, `\ufeff${encrypted}`, crlf]) {
        const key = await file("lo'cked.pem", text);
        expect(() => loadCertificates({ cert, key: [key] })).toThrow(
          /^CT_TLS_KEY=.*lo'cked\.pem: it is protected by a passphrase, .*: openssl pkey -in '.*lo'\\''cked\.pem' -out key\.pem/,
        );
      }
    },
  );

  test("certificates with a byte order mark, as some editors save them, are loaded", async () => {
    const made = await makeFor("marked.example");
    const cert = await file("marked.pem", `\ufeff${made.cert}`);
    const key = await file("marked.key.pem", `\ufeff${made.key}`);
    const rig = await simple({ certificates: loadCertificates({ cert: [cert], key: [key] }) });
    expect(await shownTo(rig)).toBe("DNS:marked.example");
  });

  /** The names of the certificate that a client gets for `servername`. */
  async function shownTo(rig: Rig, servername?: string): Promise<string | undefined> {
    const { tls } = await tlsClient(rig, servername === undefined ? {} : { servername });
    return tls.getPeerX509Certificate()?.subjectAltName;
  }

  test("certificates are chosen by the client's SNI", async () => {
    const one = await writePair("one", await makeFor("one.example"));
    const two = await writePair("two", await makeFor("two.example", "*.two.example"));
    const rig = await simple({
      certificates: loadCertificates({
        cert: [...one.cert, ...two.cert],
        key: [...one.key, ...two.key],
      }),
    });
    expect(await shownTo(rig)).toBe("DNS:one.example");
    expect(await shownTo(rig, "one.example")).toBe("DNS:one.example");
    expect(await shownTo(rig, "two.example")).toBe("DNS:two.example, DNS:*.two.example");
    expect(await shownTo(rig, "a.two.example")).toBe("DNS:two.example, DNS:*.two.example");
    expect(await shownTo(rig, "TWO.example")).toBe("DNS:two.example, DNS:*.two.example");
    for (const stranger of ["a.b.two.example", "unknown.example", "-._%", "x".repeat(255)]) {
      expect(await shownTo(rig, stranger)).toBe("DNS:one.example");
    }
  });

  test("certificates are reloaded when their files change; connections stay, and a broken one is ignored", async () => {
    const files = await writePair("changing", await makeFor("before.example"));
    const rig = await simple({ certificates: loadCertificates(files) });
    const { log, lines } = collectingLog();
    const clock = createStepClock();
    const watch = watchCertificates({
      files,
      signature: signatureOf(files),
      use: (fresh) => rig.path.listener.useCertificates(fresh),
      clock,
      log,
    });
    atEnd(() => watch.close());
    const { raw, tls } = await tlsClient(rig);
    const ask = async (): Promise<void> => {
      raw.text = "";
      raw.write(GET);
      await raw.has("fine");
    };
    await ask();
    clock.advance(5000);
    expect(lines).toEqual([]);

    const after = await makeFor("after.example");
    await writeFile(files.cert[0] ?? "", after.cert);
    clock.advance(5000);
    clock.advance(5000);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("cannot load the new certificates; still using the previous ones");
    expect(await shownTo(rig)).toBe("DNS:before.example");
    await ask();

    await writeFile(files.key[0] ?? "", after.key);
    clock.advance(5000);
    expect(lines[1]).toContain("certificates reloaded");
    expect(lines[1]).toContain("DNS:after.example, until ");
    expect(await shownTo(rig)).toBe("DNS:after.example");
    expect(await shownTo(rig, "after.example")).toBe("DNS:after.example");
    await ask();
    expect(tls.getPeerX509Certificate()?.subjectAltName).toBe("DNS:before.example");

    await writeFile(files.key[0] ?? "", lockedKey());
    clock.advance(5000);
    expect(lines.at(-1)).toContain(
      "cannot load the new certificates; still using the previous ones",
    );
    expect(lines.at(-1)).toContain("it is protected by a passphrase");
    expect(await shownTo(rig)).toBe("DNS:after.example");
  });

  test("of several certificates the time until the first one expires counts, and is 0 afterwards", () => {
    expect(expiresInMs([], 1000)).toBeUndefined();
    expect(expiresInMs([{ expiresMs: 9000 }, { expiresMs: 5000 }], 1000)).toBe(4000);
    expect(expiresInMs([{ expiresMs: 9000 }, { expiresMs: 5000 }], 6000)).toBe(0);
  });

  test("certificates that were replaced between their first reading and the start of the watch are loaded", async () => {
    const files = await writePair("early", await makeFor("before.example"));
    const signature = signatureOf(files);
    const after = await makeFor("after.example");
    await writeFile(files.cert[0] ?? "", after.cert);
    await writeFile(files.key[0] ?? "", after.key);
    const clock = createStepClock();
    const used: string[] = [];
    const watch = watchCertificates({
      files,
      signature,
      use: ([certificate]) => used.push(certificate?.names ?? ""),
      clock,
      log: silentLog(),
    });
    atEnd(() => watch.close());
    clock.advance(5000);
    expect(used).toEqual(["DNS:after.example"]);
  });

  test("TLS renegotiation is refused, and tickets resume a session", async () => {
    const rig = await simple({ certificates });
    const { tls } = await tlsClient(rig, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" });
    const session = tls.getSession();
    const failed = new Promise((resolve) => {
      tls.once("error", resolve);
      tls.once("close", resolve);
    });
    tls.renegotiate({}, (error) => error && tls.destroy());
    await failed;
    const again = await tlsClient(rig, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2", session });
    expect(again.tls.isSessionReused()).toBe(true);
  });
});

describe("time limits", () => {
  test("a silent connection is closed", async () => {
    const rig = await simple({ limits: { headerTimeoutMs: 150 } });
    const client = await rig.client();
    await client.end();
    expect(client.text).toBe("");
  });

  test("a head that never ends gets 408, however slowly it comes", async () => {
    const rig = await simple({ limits: { headerTimeoutMs: 300 } });
    const client = await rig.send("GET / HTTP/1.1\r\nHost: h\r\n");
    const dripping = setInterval(() => client.write("A: b\r\n"), 50);
    await client.end().finally(() => clearInterval(dripping));
    expect(client.text).toContain("HTTP/1.1 408 Request Timeout\r\n");
    expect(client.text).toContain("Connection: close\r\n");
  });

  test("a body that stops gets 408, and ends at the worker", async () => {
    const { worker, rig } = await startRawRig(undefined, { limits: { bodyTimeoutMs: 150 } });
    const client = await rig.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    await client.end();
    expect(client.text).toContain("HTTP/1.1 408 Request Timeout\r\n");
    await (await worker.connection(0)).close();
  });

  test("a slow body is waited for", async () => {
    const { rig } = await startRawRig(
      (socket) => {
        if (socket.text.endsWith("0123456789")) socket.write(ok("got it"));
      },
      { limits: { bodyTimeoutMs: 300 } },
    );
    const client = await rig.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    let next = 0;
    const dripping = setInterval(() => {
      if (next < 10) client.write(String(next++));
    }, 100);
    await client.has("got it").finally(() => clearInterval(dripping));
  });

  test("a client that does not take its response is disconnected", async () => {
    const { worker, rig } = await startRawRig(
      (socket) => {
        if (socket.takeHead() === undefined) return;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${64 * 1024 * 1024}\r\n\r\n`);
        socket.socket.write(Buffer.alloc(64 * 1024 * 1024));
      },
      { limits: { bodyTimeoutMs: 200 } },
    );
    const client = await rig.client();
    client.socket.pause();
    client.write(GET);
    await (await worker.connection(0)).close();
    await expect.poll(() => rig.path.listener.connections).toBe(0);
  });

  test("a connection that is idle between requests is closed", async () => {
    const rig = await simple({ limits: { keepaliveTimeoutMs: 150 } });
    const client = await rig.send(GET);
    await client.has("fine");
    await client.end();
    expect(client.error).toBeUndefined();
  });

  test("a hundred slow connections do not delay others, and all end", async () => {
    const rig = await simple({ limits: { headerTimeoutMs: 300 } });
    const slow = await Promise.all(Array.from({ length: 100 }, () => rig.client()));
    for (const client of slow) client.write("GET / HTTP/1.1\r\n");
    const startedMs = performance.now();
    expect(await rig.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).toContain(
      "fine",
    );
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 500 }),
    );
    await Promise.all(slow.map((client) => client.end()));
  });
});

describe("the number of connections", () => {
  test("the number of connections is limited over both ports; one that ends makes room", async () => {
    const rig = await simple({ certificates, maxConnections: 2 });
    const first = await rig.send(GET);
    await first.has("fine");
    const second = await rig.send(GET);
    await second.has("fine");
    const third = await rig.client();
    await third.end();
    expect(third.text).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 1\r\n/);
    expect(third.text).toContain('"code":"EDGE_TOO_MANY_CONNECTIONS"');
    await expect(tlsClient(rig)).rejects.toThrow();
    expect(rig.counters.value("balancer.refused", "too many connections")).toBe(2);
    first.socket.destroy();
    await expect.poll(() => rig.path.listener.connections).toBe(1);
    await isServed(tlsClient(rig));
  });
});

describe("the size of a request", () => {
  const POST =
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

  test.each([
    [
      "its head",
      { maxHeadBytes: 100 },
      `GET / HTTP/1.1\r\nHost: h\r\nX: ${"x".repeat(80)}\r\n\r\n`,
      431,
    ],
    [
      "its target",
      { maxTargetBytes: 20 },
      `GET /${"x".repeat(20)} HTTP/1.1\r\nHost: h\r\n\r\n`,
      414,
    ],
    ["its fields", { maxFields: 2 }, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n", 431],
    [
      "chunk extensions",
      { maxChunkExtensionBytes: 5 },
      `${POST}1;abc\r\nx\r\n1;de\r\nx\r\n0\r\n\r\n`,
      400,
    ],
    ["trailers", { maxTrailerBytes: 10 }, `${POST}0\r\nX: 12345678\r\n\r\n`, 400],
  ])(
    "the size of a request is limited by the setting for %s",
    async (_what, limits, request, status) => {
      const rig = await simple({ limits });
      expect(await rig.ask(request)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    },
  );
});

test("the connection limit is the setting, capped by the descriptors", () => {
  expect(connectionLimit(undefined, undefined)).toBe(20_000);
  expect(connectionLimit(undefined, 1_048_576)).toBe(20_000);
  expect(connectionLimit(undefined, 20_000)).toBe(9968);
  expect(connectionLimit(undefined, 256)).toBe(96);
  expect(connectionLimit(50, 256)).toBe(50);
  expect(connectionLimit(5000, 256)).toBe(96);
  expect(connectionLimit(undefined, 64)).toBe(8);
});

test("a port in use is an error that names the setting", async () => {
  const port = await listen(createNetServer());
  await expect(startRig({ port })).rejects.toThrow(`CT_PORT=${port}: already in use`);
});

test("closing the data path ends idle and busy connections", async () => {
  const { worker, rig } = await startRawRig();
  const idle = await rig.client();
  const busy = await rig.send(GET);
  await (await worker.connection(0)).head();
  rig.path.close();
  await idle.end();
  await busy.end();
});
