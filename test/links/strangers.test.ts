/** Who may open a link to a worker, against the worker's whole server. */

import { expect, test } from "vitest";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import {
  addressProof,
  BALANCER_HEADER,
  EDGE_HEADER,
  edgeProof,
  INCARNATION_HEADER,
  LINK_PATH,
  LINK_PROTOCOL,
  readIncarnation,
} from "../../shared/net/edge-headers.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import { startRig } from "../balancer/rig.ts";
import { head, upgrade } from "../conformance/case.ts";
import { connectRaw, type RawSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";
import { startWorker, type Worker } from "../worker/api/fixture.ts";
import { KEYS } from "../worker/worker-parts.ts";

const OTHER_KEYS = deriveKeys("another secret for tests, and for tests only");

/** Sends a request for a link; resolves with the socket and the head of the response. */
async function askForLink(
  worker: Worker,
  {
    proof,
    protocol = LINK_PROTOCOL,
    balancer = "balancer-1",
    path = LINK_PATH,
  }: { proof?: string; protocol?: string; balancer?: string; path?: string },
): Promise<{ head: string; status: number; socket: RawSocket }> {
  const socket = await connectRaw(worker.port);
  const fields = [
    "Host: h",
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
    ...(proof === undefined ? [] : [`${EDGE_HEADER}: ${proof}`]),
    ...(balancer === "" ? [] : [`${BALANCER_HEADER}: ${balancer}`]),
  ];
  socket.write(`GET ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`);
  const response = await socket.head();
  return { head: response, status: Number(response.slice(9, 12)), socket };
}

test.each<[who: string, status: number, ask: (worker: Worker) => Parameters<typeof askForLink>[1]]>(
  [
    ["a stranger without a proof", 404, () => ({})],
    [
      "a balancer with another secret",
      421,
      ({ record }) => ({ proof: edgeProof(OTHER_KEYS.edge, record.id, record.incarnation) }),
    ],
    [
      "a balancer that means another incarnation",
      421,
      ({ record }) => ({ proof: edgeProof(KEYS.edge, record.id, "former" as never) }),
    ],
    [
      "a balancer with a fixed list of workers",
      404,
      ({ port }) => ({ proof: addressProof(KEYS.edge, `127.0.0.1:${port}`) }),
    ],
    [
      "a balancer of another version of the link",
      426,
      ({ proof }) => ({ proof, protocol: `ct-link/${LINK_VERSION + 1}` }),
    ],
    [
      "a balancer that asks for a WebSocket there",
      426,
      ({ proof }) => ({ proof, protocol: "websocket" }),
    ],
    [
      "a client whose request a balancer has forwarded",
      404,
      ({ proof }) => ({ proof, balancer: "" }),
    ],
    ["a balancer that asks with a query", 404, ({ proof }) => ({ proof, path: `${LINK_PATH}?x` })],
  ],
)("%s gets no link, and the worker goes on", async (_who, status, ask) => {
  const worker = await startWorker();
  const refused = await askForLink(worker, ask(worker));
  expect(refused.status).toBe(status);
  expect(refused.head).not.toMatch(/upgrade:/i);
  // Frames behind a refused request are not read.
  refused.socket.write(Buffer.from([0, 0, 0, 0, 0, 0, 0, 9]));
  await refused.socket.close();
  expect(await worker.ask("GET", "/api/meta")).toMatchObject({ status: 200 });
  expect((await askForLink(worker, { proof: worker.proof })).status).toBe(101);
});

test("a worker whose links are off responds 404 to a balancer that asks for one", async () => {
  const worker = await startWorker({ hasLinks: false });
  expect((await askForLink(worker, { proof: worker.proof })).status).toBe(404);
});

test("a worker proves to the balancer who it is when it accepts a link", async () => {
  const worker = await startWorker();
  const accepted = await askForLink(worker, { proof: worker.proof });
  const field = new RegExp(`^${INCARNATION_HEADER}: (.*)$`, "im").exec(accepted.head)?.[1]?.trim();
  const { id, incarnation } = worker.record;
  const claim = { field, id, refusedProof: worker.proof };
  expect(readIncarnation([KEYS.edge], claim)).toBe(incarnation);
  expect(readIncarnation([OTHER_KEYS.edge], claim)).toBeUndefined();
});

test("a link that is asked for within a link is refused, and the link goes on", async () => {
  const worker = await startWorker();
  const { socket } = await askForLink(worker, { proof: worker.proof });
  const asked = `GET ${LINK_PATH} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ${LINK_PROTOCOL}\r\n${EDGE_HEADER}: ${worker.proof}\r\n${BALANCER_HEADER}: balancer-1\r\n\r\n`;
  const plain = "GET /api/meta HTTP/1.1\r\nHost: h\r\n\r\n";
  for (const [stream, text] of [
    [1, asked],
    [2, plain],
  ] as const) {
    const header = Buffer.alloc(16);
    header.writeUInt32BE(stream * 8 + 1, 4);
    header.writeUInt32BE(text.length, 8);
    header.writeUInt32BE(stream * 8, 12);
    socket.write(Buffer.concat([header, Buffer.from(text)]));
  }
  await socket.has("HTTP/1.1 404 Not Found");
  await socket.has("HTTP/1.1 200 OK");
});

test("a worker that stops ends its links", async () => {
  const worker = await startWorker();
  const { socket } = await askForLink(worker, { proof: worker.proof });
  await worker.stop();
  await socket.close();
});

test("a client cannot open a link through a balancer, whichever headers it sends", async () => {
  const worker = await startWorker();
  const rig = await startRig({
    workers: [worker.record],
    edgeKey: KEYS.edge,
    probe: { async ask() {} },
  });
  const claims = [`${EDGE_HEADER}: ${worker.proof}`, `${BALANCER_HEADER}: balancer-1`];
  for (const request of [
    head(
      `GET ${LINK_PATH} HTTP/1.1`,
      "Host: h",
      "Connection: Upgrade",
      `Upgrade: ${LINK_PROTOCOL}`,
    ),
    head(
      `GET ${LINK_PATH} HTTP/1.1`,
      "Host: h",
      "Connection: Upgrade",
      `Upgrade: ${LINK_PROTOCOL}`,
      ...claims,
    ),
    upgrade(...claims).replace(" / ", ` ${LINK_PATH} `),
    upgrade(`Upgrade: ${LINK_PROTOCOL}`, ...claims).replace(" / ", ` ${LINK_PATH} `),
  ]) {
    const client = await rig.send(request);
    expect(await client.head()).toMatch(/^HTTP\/1\.1 404 /);
  }
});

test("a worker has a limited number of links, and refuses more until one ends", async () => {
  const worker = await startWorker();
  const open: RawSocket[] = [];
  for (;;) {
    const { status, socket } = await askForLink(worker, { proof: worker.proof });
    if (status !== 101) {
      expect(status).toBe(503);
      break;
    }
    open.push(socket);
  }
  expect(open).toHaveLength(256);
  open[0]?.socket.destroy();
  await until(
    "another one is accepted",
    async () => (await askForLink(worker, { proof: worker.proof })).status === 101,
  );
});
