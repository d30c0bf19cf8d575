/** The first message of a TLS client, as clients write it, cut anywhere, and as garbage. */
import { randomBytes, randomInt } from "node:crypto";
import { Duplex } from "node:stream";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { readClientHello } from "../../../balancer/transport/client-hello.ts";

/** What a client of this Node sends first. */
function helloOf(options: { readonly ALPNProtocols?: string[]; readonly servername?: string }) {
  const sent: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, done) {
      sent.push(bytes);
      done();
    },
  });
  const tls = connect({ socket, ...options });
  tls.on("error", () => {});
  return new Promise<Buffer>((resolve) => {
    setImmediate(() => {
      resolve(Buffer.concat(sent));
      tls.destroy();
    });
  });
}

test("the protocols that a client offers in its hello are read", async () => {
  const hello = await helloOf({ ALPNProtocols: ["acme-tls/1"], servername: "edge.test" });
  expect(readClientHello(hello)).toEqual({ state: "hello", protocols: ["acme-tls/1"] });
  const browser = await helloOf({ ALPNProtocols: ["h2", "http/1.1"] });
  expect(readClientHello(browser)).toEqual({ state: "hello", protocols: ["h2", "http/1.1"] });
  expect(readClientHello(await helloOf({}))).toEqual({ state: "hello", protocols: [] });
});

test("a client's hello that is cut anywhere is incomplete, and what follows it is not looked at", async () => {
  const hello = await helloOf({ ALPNProtocols: ["acme-tls/1"], servername: "edge.test" });
  for (let length = 0; length < hello.length; length++) {
    expect(readClientHello(hello.subarray(0, length)).state).toBe("incomplete");
  }
  const more = Buffer.concat([hello, randomBytes(20)]);
  expect(readClientHello(more)).toEqual({ state: "hello", protocols: ["acme-tls/1"] });
});

test("bytes that are no client's hello, and lengths that lead beyond the end, are another message", async () => {
  const hello = await helloOf({ ALPNProtocols: ["acme-tls/1"], servername: "edge.test" });
  expect(readClientHello(Buffer.from("GET / HTTP/1.1")).state).toBe("other");
  expect(readClientHello(Buffer.from([0x16, 3, 1, 0xff, 0xff])).state).toBe("other");
  expect(readClientHello(Buffer.from([0x16, 3, 1, 0, 0])).state).toBe("other");
  for (let turn = 0; turn < 20_000; turn++) {
    const bytes = turn % 2 === 0 ? Buffer.from(hello) : randomBytes(randomInt(600));
    for (let change = 0; change < 1 + (turn % 5); change++) {
      if (bytes.length > 0) bytes[randomInt(bytes.length)] = randomInt(256);
    }
    expect(["hello", "other", "incomplete"]).toContain(readClientHello(bytes).state);
  }
});
