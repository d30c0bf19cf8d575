/** Between connections: nothing that one client or worker sends changes what another client gets. */
import { type Case, chunked, get, head, ok, played, post, type Subject } from "../case.ts";
import type { Stage } from "../stage.ts";

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/** Another client sends a request and must get its own response. */
async function neighbourIsFine(stage: Stage): Promise<void> {
  const { client: other } = await stage.ask("GET /after HTTP/1.1\r\nHost: h\r\n\r\n");
  stage.check(other.text.endsWith("\r\n\r\nafter"), `a neighbour got ${other.text}`);
  stage.check(!stage.workerBytes.includes("GET /hidden HTTP/1.1\r\nhost"), "a hidden request ran");
}

/** An attacker sends bytes, then another client sends a request. */
function attack(name: string, source: string, sends: string, more: Partial<Case> = {}): Case {
  return played(
    name,
    source,
    async (stage) => {
      const attacker = await stage.send(sends);
      await stage.answersCome(attacker, 1).catch(() => []);
      await neighbourIsFine(stage);
      await neighbourIsFine(stage);
    },
    more,
  );
}

/** A worker sends more than one response, on a connection that is idle afterwards; another client must not get it. */
function poison(name: string, bytes: string, more: Partial<Case> = {}): Case {
  return played(
    name,
    "CVE-2026-48931: answer queue poisoning",
    async (stage) => {
      stage.answers({ bytes: ok("mine") + bytes });
      const { client } = await stage.ask(get());
      stage.check(client.text.endsWith("mine"), `the client got ${client.text}`);
      stage.answers({ bytes: ok("fine") });
      await neighbourIsFine(stage);
    },
    more,
  );
}

const cases: Case[] = [
  attack(
    "CL.TE",
    "RFC 9112 §11.2",
    post(
      `0\r\n\r\n${HIDDEN}`,
      `Content-Length: ${5 + HIDDEN.length}`,
      "Transfer-Encoding: chunked",
    ),
  ),
  attack(
    "TE.CL",
    "RFC 9112 §11.2",
    post(
      `${(HIDDEN.length).toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`,
      "Transfer-Encoding: chunked",
      "Content-Length: 4",
    ),
  ),
  attack(
    "TE.TE with a space before the colon",
    "RFC 9112 §11.2",
    post(`0\r\n\r\n${HIDDEN}`, "Transfer-Encoding: chunked", "Transfer-Encoding : x"),
  ),
  attack(
    "TE.TE with a second coding",
    "RFC 9112 §11.2",
    post(`0\r\n\r\n${HIDDEN}`, "Transfer-Encoding: chunked", "Transfer-Encoding: cow"),
  ),
  attack(
    "CL.CL",
    "RFC 9112 §11.2",
    post(HIDDEN, "Content-Length: 0", `Content-Length: ${HIDDEN.length}`),
  ),
  attack("CL.0 with GET", "bug class: CL.0", `${get(`Content-Length: ${HIDDEN.length}`)}${HIDDEN}`),
  attack(
    "chunk sizes that overflow",
    "bug class: integer overflow",
    chunked(`1000000000000000f\r\n${HIDDEN}\r\n0\r\n\r\n`),
  ),
  attack(
    "an extension with a bare LF",
    "bug class: chunk-ext",
    chunked(`2;\nxx\r\n2d\r\n0\r\n\r\n${HIDDEN}`),
  ),
  attack(
    "a bare CR as line end",
    "bug class: line ends",
    `GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n${HIDDEN}`,
  ),
  attack(
    "a forbidden upgrade followed by bytes",
    "bug class: h2c smuggling",
    `${get("Connection: Upgrade", "Upgrade: h2c")}${"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}`,
  ),
  attack(
    "Expect without waiting",
    "bug class: 0.CL by Expect",
    `${post("", "Expect: 100-continue", `Content-Length: ${HIDDEN.length}`)}${HIDDEN}`,
  ),
  attack(
    "a malformed Expect",
    "bug class: 0.CL by Expect",
    `${post("", "Expect: y 100-continue", `Content-Length: ${HIDDEN.length}`)}${HIDDEN}`,
  ),

  poison("two responses in one segment", ok("poison")),
  poison("a response followed by a head", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
  poison("a response followed by garbage", "\x00\x01garbage\r\n\r\n"),
  played("an unsolicited response on an idle connection", "CVE-2026-48931", async (stage) => {
    await stage.ask(get());
    const worker = await stage.connection(0);
    worker.write(ok("poison"));
    await worker.raw.end();
    await neighbourIsFine(stage);
  }),
  played("a body after 204", "RFC 9112 §6.3", async (stage) => {
    stage.answers({ bytes: `${head("HTTP/1.1 204 No Content", "Content-Length: 6")}poison` });
    await stage.ask(get());
    stage.answers({ bytes: ok("fine") });
    await neighbourIsFine(stage);
  }),
  played("a body after 304", "RFC 9112 §6.3", async (stage) => {
    stage.answers({
      bytes: `${head("HTTP/1.1 304 Not Modified", "Content-Length: 6")}${ok("poison")}`,
    });
    await stage.ask(get());
    stage.answers({ bytes: ok("fine") });
    await neighbourIsFine(stage);
  }),
  played("a body after HEAD", "RFC 9110 §9.3.2", async (stage) => {
    stage.answers({ bytes: ok("poison") });
    const client = await stage.send(head("HEAD / HTTP/1.1", "Host: h"));
    await stage.answersCome(client, 1, ["HEAD"]);
    stage.answers({ bytes: ok("fine") });
    await neighbourIsFine(stage);
  }),
  played("bytes after the last chunk", "RFC 9112 §7.1", async (stage) => {
    stage.answers({
      bytes: `${head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")}1\r\nx\r\n0\r\n\r\n${ok("poison")}`,
    });
    await stage.ask(get());
    stage.answers({ bytes: ok("fine") });
    await neighbourIsFine(stage);
  }),
  played(
    "fifty concurrent clients get their own responses",
    "policy: session key",
    async (stage) => {
      stage.answersByHand();
      const clients = await Promise.all(Array.from({ length: 50 }, () => stage.client()));
      for (const [i, client] of clients.entries()) {
        client.write(head(`GET /c${i} HTTP/1.1`, "Host: h"));
      }
      await stage.requestsCome(50);
      // The responses are sent in another order than the requests.
      for (const connection of [...stage.workerConnections].reverse()) {
        const path = /^GET (\/c\d+) /.exec(connection.all)?.[1] ?? "";
        connection.write(ok(path));
      }
      for (const [i, client] of clients.entries()) {
        const [answer] = await stage.answersCome(client, 1);
        stage.check(answer?.body === `/c${i}`, `client ${i} got ${client.text}`);
      }
    },
  ),
  played(
    "a truncated response does not affect other clients",
    "bug class: answers cut or doubled",
    async (stage) => {
      stage.answers({
        bytes: head("HTTP/1.1 200 OK", "Content-Length: 10").concat("half"),
        closes: "reset",
      });
      const client = await stage.send(get());
      await client.end();
      stage.answers({ bytes: ok("fine") });
      await neighbourIsFine(stage);
    },
  ),
];

export const desync: Subject = { name: "isolation of clients:", cases };
