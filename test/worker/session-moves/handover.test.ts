/** The requests by which a session goes from one worker to another, in today's form and in that of the version before. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { decode, encode } from "@msgpack/msgpack";
import { expect, test } from "vitest";
import type { SessionId } from "../../../shared/base/ids.ts";
import { askProcess } from "../../../shared/net/request-process.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import {
  createHandovers,
  HandoverError,
  isHandover,
  sendPendingMessages,
  sendResume,
} from "../../../worker/session-moves/handover.ts";
import type { PendingMessages } from "../../../worker/sessions/pending-messages.ts";
import { serveHttp } from "../../support/servers.ts";

const SESSION = "a".repeat(24) as SessionId;
const KEY = Buffer.alloc(32, 7);
const HELLO = Buffer.from("hello");
const PENDING = {
  cut: ["peer-2"],
  epoch: 7,
  waiting: [
    {
      id: "peer-1",
      messages: [{ parts: [HELLO], byteLength: HELLO.length, own: true }],
    },
  ],
} as unknown as PendingMessages;
const SENT = [{ own: true, bytes: HELLO }];

async function start(
  handle: (req: IncomingMessage, res: ServerResponse) => unknown,
): Promise<WorkerRecord> {
  const url = await serveHttp((req, res) => void handle(req, res));
  return { id: "w2", incarnation: "1", url } as unknown as WorkerRecord;
}

/** A worker that answers 404 to all paths but those that begin with `path`, and what it was sent. */
async function startReceiver(path: string) {
  const received: { method: string; url: string; body: unknown }[] = [];
  const record = await start(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    const { method = "", url = "" } = req;
    received.push({ method, url, body: bytes.length === 0 ? undefined : decode(bytes) });
    res.writeHead(url.startsWith(path) ? 204 : 404).end();
  });
  return { record, received };
}

/** The receiving half of a worker, what arrived in its inbox and which sessions it resumed. */
async function startWorker() {
  const inbox: [SessionId, PendingMessages][] = [];
  const resumed: SessionId[] = [];
  const handovers = createHandovers({
    handoverInbox: { put: (id, pendingMessages) => void inbox.push([id, pendingMessages]) },
    registry: {
      async claim(id) {
        resumed.push(id);
        return { outcome: "here", session: {} as never };
      },
    },
    isOpen: () => true,
  });
  const { url } = await start((req, res) =>
    isHandover(req) ? handovers.handle(req, res) : res.writeHead(404).end(),
  );
  const send = async (method: "PUT" | "POST", path: string, body?: Uint8Array) => {
    const headers = { "x-ct-balancer": "worker" };
    const { status } = await askProcess(url + path, {
      method,
      headers,
      ...(body !== undefined && { body }),
      timeoutMs: 5000,
      keepConnection: false,
    });
    return status;
  };
  return { inbox, resumed, send };
}

test("pending messages and the request to resume go to /ct-edge/handover/ first", async () => {
  const { record, received } = await startReceiver("/ct-edge/handover/");
  await sendPendingMessages(KEY, record, SESSION, PENDING);
  await sendResume(KEY, record, SESSION);
  const url = `/ct-edge/handover/${SESSION}`;
  expect(received).toEqual([
    {
      method: "PUT",
      url,
      body: { epoch: 7, cut: ["peer-2"], waiting: [{ id: "peer-1", messages: SENT }] },
    },
    { method: "POST", url, body: undefined },
  ]);
});

test("a worker of the version before gets the path and the body that it knows", async () => {
  const { record, received } = await startReceiver("/ct-edge/hand-over/");
  await sendPendingMessages(KEY, record, SESSION, PENDING);
  await sendResume(KEY, record, SESSION);
  const url = `/ct-edge/hand-over/${SESSION}`;
  expect(received.filter((one) => one.url.startsWith("/ct-edge/hand-over/"))).toEqual([
    {
      method: "PUT",
      url,
      body: { epoch: 7, cut: ["peer-2"], waiting: [{ id: "peer-1", parcels: SENT }] },
    },
    { method: "POST", url, body: undefined },
  ]);
});

test("a worker that knows neither path has refused the session", async () => {
  const { record } = await startReceiver("/nowhere/");
  await expect(sendPendingMessages(KEY, record, SESSION, PENDING)).rejects.toThrow(HandoverError);
});

test.each([
  ["/ct-edge/handover/", "messages"],
  // The names of the version before.
  ["/ct-edge/hand-over/", "parcels"],
  ["/ct-edge/handover/", "parcels"],
])("a worker receives a session at %s with the key %s", async (path, key) => {
  const { inbox, resumed, send } = await startWorker();
  const waiting = [{ id: "peer-1", [key]: [{ own: true, bytes: HELLO }] }];
  const isNew = key === "messages";
  const body = { epoch: 7, waiting, ...(isNew && { cut: ["peer-2"] }) };
  expect(await send("PUT", path + SESSION, encode(body))).toBe(204);
  expect(inbox).toEqual([[SESSION, { ...PENDING, cut: isNew ? ["peer-2"] : [] }]]);
  expect(await send("POST", path + SESSION)).toBe(204);
  expect(resumed).toEqual([SESSION]);
});

test("a worker refuses pending messages without a list of messages, and a session id that is none", async () => {
  const { inbox, send } = await startWorker();
  const body = encode({ epoch: 7, waiting: [{ id: "peer-1" }] });
  expect(await send("PUT", `/ct-edge/handover/${SESSION}`, body)).toBe(409);
  expect(await send("PUT", "/ct-edge/handover/x", body)).toBe(404);
  expect(inbox).toEqual([]);
});
