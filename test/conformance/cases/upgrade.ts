/** WebSockets (RFC 6455 §4): a tunnel only after a valid handshake that the worker accepted, then unchanged bytes. */
import {
  answered,
  type Case,
  forwarded,
  get,
  head,
  ok,
  played,
  type Subject,
  switching,
  upgrade,
  WEBSOCKET_ACCEPT,
  WEBSOCKET_KEY,
} from "../case.ts";
import { reset, type Stage } from "../stage.ts";

/** Plays the handshake; resolves with both ends of the tunnel. */
async function open(stage: Stage, request = upgrade(), answer = switching()) {
  const { client, worker } = await stage.exchange(request);
  worker.write(answer);
  await client.has("\r\n\r\n");
  const got = client.takeHead() ?? "";
  stage.check(got.startsWith("HTTP/1.1 101 "), `got ${got}`);
  const before = worker.all.length;
  return {
    client,
    worker,
    got,
    /** The bytes at the worker after the handshake. */
    toWorker: () => worker.all.slice(before),
  };
}

/** A request that looks like a handshake but is invalid: the client gets no tunnel, whatever the worker sends. */
function notOne(name: string, source: string, sends: string, more: Partial<Case> = {}): Case {
  return played(
    name,
    source,
    async (stage) => {
      // The worker accepts everything: an attacker may control it, or it may be deceived.
      stage.answers({ bytes: switching() });
      const { client } = await stage.ask(sends);
      stage.check(!client.text.startsWith("HTTP/1.1 101"), "the client got a tunnel");
    },
    more,
  );
}

const lines = (over: Record<string, string | undefined>): string => {
  const fields: Record<string, string | undefined> = {
    Host: "h",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": WEBSOCKET_KEY,
    ...over,
  };
  return head(
    "GET / HTTP/1.1",
    ...Object.entries(fields).flatMap(([name, value]) =>
      value === undefined ? [] : `${name}: ${value}`,
    ),
  );
};

/** A worker's 101 that does not match the handshake. */
function falseAgreement(name: string, answer: string, more: Partial<Case> = {}): Case {
  return answered(name, "RFC 6455 §4.1, bug class: tunnels as smuggling", answer, {
    status: 502,
    sends: upgrade(),
    leaves: "any",
    kind: "choice",
    ...more,
  });
}

const cases: Case[] = [
  // --- the handshake ---
  played("a handshake reaches the worker complete", "RFC 6455 §4.1", async (stage) => {
    await open(
      stage,
      upgrade(
        "Sec-WebSocket-Protocol: a, b",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Origin: http://o",
        "Cookie: c=d",
      ),
    );
    const [request] = stage.requests;
    const fields = (request?.fields ?? []).map((line) => line.toLowerCase());
    for (const line of [
      "connection: upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      `sec-websocket-key: ${WEBSOCKET_KEY.toLowerCase()}`,
      "sec-websocket-protocol: a, b",
      "sec-websocket-extensions: permessage-deflate",
      "origin: http://o",
      "cookie: c=d",
    ]) {
      stage.check(fields.includes(line), `no ${line}`);
    }
  }),
  played("a 101 reaches the client complete", "RFC 6455 §4.2.2", async (stage) => {
    const { got } = await open(
      stage,
      upgrade(),
      switching("Sec-WebSocket-Protocol: a", "Set-Cookie: x=y"),
    );
    for (const line of [
      "connection: upgrade",
      "upgrade: websocket",
      `sec-websocket-accept: ${WEBSOCKET_ACCEPT.toLowerCase()}`,
      "sec-websocket-protocol: a",
      "set-cookie: x=y",
    ]) {
      stage.check(got.toLowerCase().includes(`\r\n${line}`), `no ${line} in ${got}`);
    }
  }),
  played("Connection may list more than upgrade", "RFC 6455 §4.1", async (stage) => {
    await open(stage, lines({ Connection: "keep-alive, Upgrade" }));
  }),
  played("the tokens in any case", "RFC 6455 §4.1", async (stage) => {
    await open(stage, lines({ Connection: "uPGRADE", Upgrade: "WebSocket" }));
  }),
  played("Content-Length: 0 is no body", "RFC 9110 §8.6", async (stage) => {
    const { client, worker } = await open(stage, `${upgrade("Content-Length: 0")}early`);
    const lengths = stage.requests.flatMap(({ fields }) =>
      fields.filter((line) => /^content-length: *[1-9]/i.test(line)),
    );
    stage.check(lengths.length === 0, `sent ${lengths.join()}`);
    client.write("-late");
    await worker.raw.has("early-late");
    stage.check(worker.all.endsWith("\r\n\r\nearly-late"), "got other bytes");
  }),
  played("a list in several lines is one list", "RFC 9110 §5.3", async (stage) => {
    await open(
      stage,
      get(
        "Connection: keep-alive",
        "Upgrade:",
        "Sec-WebSocket-Protocol: a",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Protocol: b",
        "Connection:",
        "Sec-WebSocket-Version: 13",
        `Sec-WebSocket-Key: ${WEBSOCKET_KEY}`,
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: x-other",
      ),
    );
    const fields = (stage.requests[0]?.fields ?? []).map((line) => line.toLowerCase());
    for (const name of ["sec-websocket-protocol", "sec-websocket-extensions"]) {
      const lines = fields.filter((line) => line.startsWith(`${name}: `));
      const values = lines.map((line) => line.slice(name.length + 2)).join(", ");
      const wanted = { "sec-websocket-protocol": "a, b" }[name] ?? "permessage-deflate, x-other";
      stage.check(values === wanted, `sent ${lines.join(" | ")}`);
    }
  }),
  played(
    "a repeated protocol counts once",
    "RFC 9110 §5.3",
    async (stage) => {
      await open(stage, upgrade("Upgrade: WebSocket"));
      const upgrades = (stage.requests[0]?.fields ?? []).filter((line) => /^upgrade:/i.test(line));
      stage.check(upgrades.join() === "Upgrade: websocket", `sent ${upgrades.join(" | ")}`);
    },
    { kind: "own" },
  ),
  notOne("an empty Upgrade", "RFC 6455 §4.2.1", lines({ Upgrade: ", ," }), { kind: "choice" }),
  notOne(
    "another protocol before websocket, in its own line",
    "bug class: tunnels as smuggling",
    get("Upgrade: h2c", ...upgrade().split("\r\n").slice(2, -2)),
    { kind: "choice" },
  ),
  notOne(
    "two versions, one of them valid",
    "RFC 6455 §11.3.5",
    upgrade("Sec-WebSocket-Version: 8"),
    { kind: "choice" },
  ),
  notOne("another protocol", "RFC 9110 §7.8", lines({ Upgrade: "h2c" }), { kind: "choice" }),
  notOne("several protocols", "RFC 6455 §4.2.1", lines({ Upgrade: "websocket, h2c" }), {
    kind: "choice",
  }),
  notOne("a protocol with a version", "RFC 6455 §4.2.1", lines({ Upgrade: "websocket/13" }), {
    kind: "choice",
  }),
  notOne("no Connection", "RFC 6455 §4.2.1", lines({ Connection: undefined })),
  notOne("another Connection", "RFC 6455 §4.2.1", lines({ Connection: "keep-alive" })),
  notOne("no version", "RFC 6455 §4.2.1", lines({ "Sec-WebSocket-Version": undefined }), {
    kind: "choice",
  }),
  notOne("version 8", "RFC 6455 §4.4", lines({ "Sec-WebSocket-Version": "8" }), { kind: "choice" }),
  notOne(
    "version 777",
    "bug class: tunnels as smuggling",
    lines({ "Sec-WebSocket-Version": "777" }),
    { kind: "choice" },
  ),
  notOne("no key", "RFC 6455 §4.2.1", lines({ "Sec-WebSocket-Key": undefined }), {
    kind: "choice",
  }),
  notOne("a short key", "RFC 6455 §4.2.1", lines({ "Sec-WebSocket-Key": "c2hvcnQ=" }), {
    kind: "choice",
  }),
  notOne(
    "a key that is not base64",
    "RFC 6455 §4.2.1",
    lines({ "Sec-WebSocket-Key": "!".repeat(24) }),
    { kind: "choice" },
  ),
  notOne("two keys", "RFC 6455 §11.3.1", upgrade(`Sec-WebSocket-Key: ${WEBSOCKET_KEY}`), {
    kind: "choice",
  }),
  notOne("two Upgrade fields", "bug class: tunnels as smuggling", upgrade("Upgrade: h2c"), {
    kind: "choice",
  }),
  notOne("POST", "RFC 6455 §4.1: GET", lines({}).replace("GET", "POST"), { kind: "choice" }),
  notOne("HTTP/1.0", "RFC 9110 §7.8: ignore", lines({}).replace("HTTP/1.1", "HTTP/1.0")),
  notOne("a body", "bug class: tunnels as smuggling", `${upgrade("Content-Length: 4")}abcd`, {
    kind: "choice",
  }),
  notOne(
    "chunks",
    "bug class: tunnels as smuggling",
    `${upgrade("Transfer-Encoding: chunked")}0\r\n\r\n`,
    { kind: "choice" },
  ),

  // --- the response of the worker ---
  falseAgreement("a wrong accept", switching().replace(WEBSOCKET_ACCEPT, `${"A".repeat(27)}=`)),
  falseAgreement("no accept", switching().replace(/Sec-WebSocket-Accept.*\r\n/, "")),
  falseAgreement("two accepts", switching(`Sec-WebSocket-Accept: ${WEBSOCKET_ACCEPT}`)),
  falseAgreement("another protocol", switching().replace("websocket", "h2c")),
  falseAgreement("no Upgrade", switching().replace("Upgrade: websocket\r\n", "")),
  falseAgreement("no Connection", switching().replace("Connection: Upgrade\r\n", "")),
  answered("an unsolicited 101", "RFC 9110 §15.2.2", switching(), { status: 502, leaves: "any" }),
  answered(
    "a refusal is a plain response",
    "RFC 6455 §4.2.2",
    head("HTTP/1.1 403 Forbidden", "Content-Length: 2").concat("no"),
    { status: 403, body: "no", lacks: ["upgrade"], sends: upgrade() },
  ),
  answered("200 is a plain response", "RFC 6455 §4.1", ok("plain"), {
    status: 200,
    body: "plain",
    sends: upgrade(),
  }),
  answered(
    "426 names the required version",
    "RFC 9110 §15.5.22",
    head("HTTP/1.1 426 Upgrade Required", "Sec-WebSocket-Version: 13", "Content-Length: 0"),
    { status: 426, has: ["Sec-WebSocket-Version: 13"], sends: upgrade() },
  ),

  // --- the tunnel ---
  played("bytes pass unchanged in both directions", "RFC 6455 §5", async (stage) => {
    const { client, worker, toWorker } = await open(stage);
    const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join("");
    client.write(bytes);
    worker.write(bytes);
    await client.has(bytes);
    stage.check(client.text === bytes, "the client got other bytes");
    await worker.raw.has(bytes);
    stage.check(toWorker() === bytes, "the worker got other bytes");
  }),
  played(
    "bytes that look like a request are not parsed",
    "bug class: tunnels as smuggling",
    async (stage) => {
      const { client, toWorker, worker } = await open(stage);
      const bytes = get("x-ct-edge: forged", "Connection: close");
      client.write(bytes);
      await worker.raw.has(bytes);
      stage.check(toWorker() === bytes, "the bytes were changed");
    },
  ),
  played("bytes immediately after the handshake are forwarded", "RFC 6455 §4.1", async (stage) => {
    const { toWorker, worker } = await open(stage, `${upgrade()}early`);
    await worker.raw.has("early");
    stage.check(toWorker().endsWith("early") || worker.all.endsWith("early"), "got other bytes");
  }),
  played("bytes immediately after the 101 are forwarded", "RFC 6455 §4.2.2", async (stage) => {
    const { client } = await open(stage, upgrade(), `${switching()}first`);
    await client.has("first");
  }),
  played("the client's end reaches the worker", "RFC 6455 §7.1.1", async (stage) => {
    const { client, worker } = await open(stage);
    client.socket.end("bye");
    await worker.raw.has("bye");
    await worker.raw.end();
  }),
  played(
    "the worker's end reaches the client, with its last bytes",
    "RFC 6455 §7.1.1",
    async (stage) => {
      const { client, worker } = await open(stage);
      worker.raw.socket.end("bye");
      await client.has("bye");
      await client.end();
    },
  ),
  played(
    "the client's abort reaches the worker",
    "policy: aborts and backpressure",
    async (stage) => {
      const { client, worker } = await open(stage);
      client.socket.destroy();
      await worker.raw.end();
    },
  ),
  played(
    "the worker's abort reaches the client",
    "policy: aborts and backpressure",
    async (stage) => {
      const { client, worker } = await open(stage);
      reset(worker.raw);
      await client.end();
    },
  ),
  played(
    "bytes after a handshake that the worker ignores are not answered",
    "RFC 6455 §4.1",
    async (stage) => {
      const { client, worker } = await stage.exchange(`${upgrade()}\x81\x05hello`);
      worker.write(head("HTTP/1.1 400 Bad Request", "Content-Length: 0", "Connection: close"));
      const [answer] = await stage.answersCome(client, 1);
      stage.check(answer?.line.includes(" 400 ") === true, `got ${client.text}`);
    },
  ),
  forwarded("a plain request after a refused handshake", "RFC 9112 §9.3", upgrade(), {
    answers: [{ bytes: head("HTTP/1.1 404 Not Found", "Content-Length: 0") }],
    client: [{ status: 404 }],
  }),
];

export const webSocket: Subject = { name: "a WebSocket:", cases };
