/**
 * Sends files, with conditional and range requests, and small generated documents, with an ETag. Bodies are never compressed:
 * checksums of downloads must match.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { extname } from "node:path";
import { Readable } from "node:stream";
import send from "@fastify/send";
import type { FastifyReply } from "fastify";
import { replyWith, textResponse } from "../../http/responses.ts";
import { type ChunkCache, createChunkCache, type OpenFile } from "./chunk-cache.ts";

/** Caches must revalidate each time: a file may be replaced under the same name. */
const REVALIDATE = "no-cache";

const TYPES: Readonly<Record<string, string>> = {
  ".vsix": "application/vsix",
  ".zip": "application/zip",
  ".jar": "application/java-archive",
  ".xz": "application/x-xz",
  ".gz": "application/gzip",
  ".xml": "application/xml",
  ".index": "text/plain; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".svg": "image/svg+xml",
};

/** Untrusted content: no browser shows it as a page of ours or runs anything in it. */
const SANDBOX_HEADERS = {
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
};

/** The media type of a file by its extension. */
export function typeOf(name: string): string {
  return TYPES[extname(name).toLowerCase()] ?? "application/octet-stream";
}

export interface SentFile {
  readonly path: string;
  readonly type: string;
  /** The name under which browsers save it. */
  readonly saveAs?: string | undefined;
  /** Called when the first bytes are about to be sent, which counts as one download. */
  readonly onStart?: (() => void) | undefined;
}

/** Sends a file, or the response to the request's conditions and range: 304, 206, 412, 416. */
export type SendFile = (reply: FastifyReply, file: SentFile) => Promise<FastifyReply>;

/** `@fastify/send` evaluates the request's headers; the bytes come from a cache that all downloads share. */
export function createFileSender(): SendFile {
  const cache = createChunkCache();
  return async (reply, file) => {
    const { raw } = reply.request;
    const { statusCode, headers, type, metadata } = await decide(raw, file.path);
    if (type !== "file") {
      const contentRange = headers["Content-Range"];
      if (contentRange !== undefined) reply.header("content-range", contentRange);
      const response = textResponse(statusCode, REFUSALS[statusCode] ?? "Not found");
      return replyWith(reply, response);
    }
    reply.code(statusCode).headers({
      ...headers,
      ...SANDBOX_HEADERS,
      "cache-control": REVALIDATE,
      ...(statusCode !== 304 && { "content-type": file.type }),
      ...(file.saveAs !== undefined && { "content-disposition": attachment(file.saveAs) }),
    });
    if (statusCode === 304) return reply.send();
    // An empty stream, because without a body Fastify overwrites Content-Length.
    if (raw.method === "HEAD") return reply.send(Readable.from([]));
    const handle = await open(file.path, "r");
    try {
      const now = await handle.stat();
      if (now.size !== metadata.stat.size || now.mtimeMs !== metadata.stat.mtimeMs) {
        const response = textResponse(503, "The file is being replaced; try again");
        for (const name of Object.keys(headers)) reply.removeHeader(name);
        return await replyWith(reply, response);
      }
      const start = startOf(headers["Content-Range"]);
      if (start === 0) file.onStart?.();
      reply.hijack();
      reply.raw.writeHead(statusCode, reply.getHeaders() as OutgoingHttpHeaders);
      await pump(cache, reply.raw, {
        file: { handle, key: `${file.path} ${now.ino} ${now.size} ${now.mtimeMs} ${now.ctimeMs}` },
        start,
        bytes: Number(headers["Content-Length"]),
      });
      return reply;
    } finally {
      await handle.close();
    }
  };
}

async function decide({ method, headers }: IncomingMessage, path: string) {
  const { range, ...others } = headers;
  // Range is defined only for GET (RFC 9110 §14.2).
  const kept = method === "HEAD" || range === undefined ? others : { ...others, range };
  // All that the library uses of a request. As HEAD, because with GET it would open a stream of its own.
  const request = { method: "HEAD", headers: kept } as unknown as Readable;
  return await send(request, encodeURIComponent(path), {
    cacheControl: false,
    contentType: false,
    dotfiles: "allow",
    index: false,
  });
}

/** The first byte of the response. A range that starts later continues a download that was already counted. */
function startOf(contentRange: string | undefined): number {
  return Number(/^bytes (\d+)-/.exec(contentRange ?? "")?.[1] ?? 0);
}

/**
 * Sends part of a file, one chunk at a time: the next is acquired when the socket has taken the last, so a slow client costs
 * one chunk. If the file was truncated meanwhile, the connection is destroyed: a clean end would look complete.
 */
async function pump(
  cache: ChunkCache,
  res: ServerResponse,
  part: { readonly file: OpenFile; readonly start: number; readonly bytes: number },
): Promise<void> {
  const endAt = part.start + part.bytes;
  for (let position = part.start; position < endAt && !res.destroyed; ) {
    const index = Math.floor(position / cache.size);
    const chunk = await cache.acquire(part.file, index);
    const first = index * cache.size;
    const bytes = chunk.bytes.subarray(position - first, endAt - first);
    if (bytes.length === 0) res.destroy();
    // Not released after a failed write: the socket may still read from the buffer.
    if (await write(res, bytes)) chunk.release();
    position += bytes.length;
  }
  if (!res.destroyed) res.end();
}

/** Resolves with false when the connection closed before the bytes were written. */
function write(res: ServerResponse, bytes: Buffer): Promise<boolean> {
  if (res.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const onClose = (): void => resolve(false);
    res.once("close", onClose);
    res.write(bytes, (error) => {
      res.off("close", onClose);
      resolve(error === undefined || error === null);
    });
  });
}

const REFUSALS: Readonly<Record<number, string>> = {
  412: "The file has changed",
  416: "The file does not have the requested range",
};

/** Names that are not plain ASCII are also sent as `filename*` (RFC 6266). */
function attachment(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"${plain === name ? "" : `; filename*=UTF-8''${encoded}`}`;
}

/** Sends a generated document, or 304 when the client already has it. */
export function sendDocument(
  reply: FastifyReply,
  document: { readonly type: string; readonly body: string | Buffer },
): FastifyReply {
  const etag = `"${createHash("sha256").update(document.body).digest("base64url").slice(0, 27)}"`;
  const headers = { etag, "cache-control": REVALIDATE };
  if (hasTag(reply.request.headers["if-none-match"], etag)) {
    return reply.code(304).headers(headers).send();
  }
  return reply.headers({ ...headers, "content-type": document.type }).send(document.body);
}

/** Like `sendDocument`, for contents of an untrusted archive. */
export function sendSandboxed(
  reply: FastifyReply,
  document: { readonly type: string; readonly body: string | Buffer },
): FastifyReply {
  return sendDocument(reply.headers(SANDBOX_HEADERS), document);
}

/** Evaluates If-None-Match with weak comparison (RFC 9110 §13.1.2). */
function hasTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const tags = header.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}
