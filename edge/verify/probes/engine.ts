/**
 * Handshakes of engine.io, by long polling and by WebSocket. A worker accepts them before it knows who comes, and the id that
 * it gives begins with its tag: so they show which worker a request reaches, without signing in.
 */
import WebSocket from "ws";
import { z } from "zod";
import { readJson } from "../../../shared/base/json.ts";
import { readTag } from "../../../shared/base/worker-tag.ts";
import type { Handshake, HttpAnswer, Responded } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { failureOf } from "./failures.ts";
import type { HttpProbe } from "./http.ts";

const SOCKET_PATH = "/socket.io/?EIO=4&transport=";
const TIMEOUT_MS = 8000;
/** Our open packet has 150 bytes; other servers may send anything. */
const MAX_PAYLOAD = 1024 * 1024;
const MAX_BODY_BYTES = 64 * 1024;

const openPacket = z.object({ sid: z.string().min(1).max(256) });

/** Undefined unless `text` is engine.io's first packet. */
function parseOpenPacket(text: string): { readonly sid: string } | undefined {
  return text.startsWith("0{") ? readJson(openPacket, text.slice(1)) : undefined;
}

/** A handshake by long polling, whose connection is closed again. `prefix`: of the path, `/k/KEY`. */
export async function pollHandshake(
  http: HttpProbe,
  how: { readonly headers?: Readonly<Record<string, string>>; readonly prefix?: string } = {},
): Promise<Handshake> {
  const { headers = {}, prefix = "" } = how;
  // As clients do, lest a cache responds.
  const path = `${prefix}${SOCKET_PATH}polling&t=${performance.now().toString(36)}`;
  const answer = await http.send(path, { headers, fresh: true });
  const handshake = readHandshake(answer);
  if (handshake.outcome === "open") {
    await http.send(`${prefix}${SOCKET_PATH}polling&sid=${encodeURIComponent(handshake.sid)}`, {
      method: "POST",
      headers: { ...headers, "content-type": "text/plain;charset=UTF-8" },
      body: "1",
      fresh: true,
    });
  }
  return handshake;
}

function readHandshake(answer: HttpAnswer): Handshake {
  if (answer.outcome === "failed" || answer.status !== 200) return answer;
  const packet = parseOpenPacket(answer.body);
  if (packet === undefined) return answer;
  const { headers, tookMs } = answer;
  return { outcome: "open", sid: packet.sid, tag: readTag(packet.sid), headers, tookMs };
}

/** An open WebSocket after the handshake, which answers pings, and must be closed. */
export interface OpenWebSocket {
  readonly handshake: Extract<Handshake, { outcome: "open" }>;
  /** Resolves when it is closed, by whichever side. */
  readonly closed: Promise<{ readonly detail: string }>;
  close(): void;
}

/** Opens a WebSocket of engine.io. Never rejects. */
export function openWebSocket(
  target: Target,
  signal: AbortSignal,
): Promise<OpenWebSocket | HttpAnswer> {
  const startMs = performance.now();
  const took = (): number => performance.now() - startMs;
  const url = `${target.baseUrl.replace(/^http/, "ws")}${SOCKET_PATH}websocket`;
  return new Promise((resolve) => {
    const socket = new WebSocket(url, {
      headers: { "user-agent": "ct-edge verify" },
      handshakeTimeout: TIMEOUT_MS,
      maxPayload: MAX_PAYLOAD,
      perMessageDeflate: false,
      rejectUnauthorized: false,
    });
    let upgradeHeaders: Responded["headers"] = {};
    let failure = "the connection was closed";
    let openMs = 0;
    const settle = (result: OpenWebSocket | HttpAnswer): void => {
      clearTimeout(late);
      resolve(result);
    };
    const abort = (): void => socket.terminate();
    signal.addEventListener("abort", abort);
    const late = setTimeout(() => {
      const error = new Error("no packet came over the WebSocket");
      settle({ ...failureOf(error, took()), reason: "timeout" });
      socket.terminate();
    }, TIMEOUT_MS);
    const closed = new Promise<{ readonly detail: string }>((resolveClosed) => {
      socket.once("close", (code: number) => {
        signal.removeEventListener("abort", abort);
        const detail = code === 1006 ? failure : `close code ${code}`;
        const reason = signal.aborted ? "interrupted" : "cut";
        settle({ outcome: "failed", reason, detail, tookMs: took() });
        resolveClosed({ detail });
      });
    });
    socket.on("error", (error) => {
      failure = error.message;
      if (socket.readyState === WebSocket.CONNECTING) settle(failureOf(error, took()));
    });
    socket.once("unexpected-response", (request, response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const end = (): void => {
        settle({
          outcome: "response",
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("utf8"),
          tookMs: took(),
        });
        request.destroy();
      };
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) end();
      });
      response.once("end", end);
      response.once("error", end);
    });
    socket.once("upgrade", (response) => {
      upgradeHeaders = response.headers;
      openMs = took();
    });
    socket.on("message", (data: Buffer) => {
      const text = data.toString("utf8");
      if (text === "2") {
        socket.send("3");
        return;
      }
      const packet = parseOpenPacket(text);
      if (packet === undefined) return;
      settle({
        handshake: {
          outcome: "open",
          sid: packet.sid,
          tag: readTag(packet.sid),
          headers: upgradeHeaders,
          tookMs: took() - openMs,
        },
        closed,
        close: () => socket.close(1000),
      });
    });
  });
}
