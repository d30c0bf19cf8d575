/**
 * Sends files and small documents: with validators, so that nobody fetches twice what has not changed, files in parts if
 * asked for. Bytes are never compressed on the way: their checksums must stay true.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { extname } from "node:path";
import { Readable } from "node:stream";
import send from "@fastify/send";
import type { FastifyReply } from "fastify";
import { textResponse } from "../../http/responses.ts";
import { createPieces, type OpenFile, type Pieces } from "./pieces.ts";

/** May be kept, but is asked for again each time: what has a name today may have another content tomorrow. */
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

/** What strangers made is shown by no browser as a page of ours, and runs nothing. */
const CONFINED = {
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
};

/** The media type of a file by its name; anything else is just bytes. */
export function typeOf(name: string): string {
  return TYPES[extname(name).toLowerCase()] ?? "application/octet-stream";
}

export interface SentFile {
  readonly path: string;
  readonly type: string;
  /** Browsers store it under this name. */
  readonly saveAs?: string | undefined;
  /** Called when its first bytes are going to be sent, which counts as one download. */
  readonly onBegin?: (() => void) | undefined;
}

/** Answers with a file, or as the request's conditions and range demand: 304, 206, 412, 416. */
export type SendFile = (reply: FastifyReply, file: SentFile) => Promise<FastifyReply>;

/** What is decided on a request's head is the library's; the bytes come from pieces that downloads share. */
export function createFileSender(): SendFile {
  const pieces = createPieces();
  return async (reply, file) => {
    const { raw } = reply.request;
    const { statusCode, headers, type, metadata } = await decide(raw, file.path);
    if (type !== "file") {
      const contentRange = headers["Content-Range"];
      if (contentRange !== undefined) reply.header("content-range", contentRange);
      const answer = textResponse(statusCode, REFUSALS[statusCode] ?? "Not found");
      return reply.code(statusCode).headers(answer.fields).send(answer.body);
    }
    reply.code(statusCode).headers({
      ...headers,
      ...CONFINED,
      "cache-control": REVALIDATE,
      ...(statusCode !== 304 && { "content-type": file.type }),
      ...(file.saveAs !== undefined && { "content-disposition": attachment(file.saveAs) }),
    });
    if (statusCode === 304) return reply.send();
    // An empty stream, because the framework sets another length where there is no body at all.
    if (raw.method === "HEAD") return reply.send(Readable.from([]));
    const handle = await open(file.path, "r");
    try {
      const now = await handle.stat();
      if (now.size !== metadata.stat.size || now.mtimeMs !== metadata.stat.mtimeMs) {
        const answer = textResponse(503, "The file is being replaced; try again");
        for (const name of Object.keys(headers)) reply.removeHeader(name);
        return await reply.code(503).headers(answer.fields).send(answer.body);
      }
      const start = startOf(headers["Content-Range"]);
      if (start === 0) file.onBegin?.();
      reply.hijack();
      reply.raw.writeHead(statusCode, reply.getHeaders() as OutgoingHttpHeaders);
      await pump(pieces, reply.raw, {
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
  // A range means nothing to HEAD (RFC 9110 §14.2).
  const asked = method === "HEAD" || range === undefined ? others : { ...others, range };
  // All that is used of a request. As HEAD, because the library would open the file for its own stream.
  const request = { method: "HEAD", headers: asked } as unknown as Readable;
  return await send(request, encodeURIComponent(path), {
    cacheControl: false,
    contentType: false,
    dotfiles: "allow",
    index: false,
  });
}

/** The first byte that is sent; later parts belong to a download that has been counted. */
function startOf(contentRange: string | undefined): number {
  return Number(/^bytes (\d+)-/.exec(contentRange ?? "")?.[1] ?? 0);
}

/**
 * Sends part of a file, one piece at a time: the next is asked for when the system has taken the last, so a slow client costs
 * one piece. A file that has become shorter meanwhile cuts the connection: a clean end would look whole.
 */
async function pump(
  pieces: Pieces,
  res: ServerResponse,
  part: { readonly file: OpenFile; readonly start: number; readonly bytes: number },
): Promise<void> {
  const endAt = part.start + part.bytes;
  for (let position = part.start; position < endAt && !res.destroyed; ) {
    const index = Math.floor(position / pieces.size);
    const piece = await pieces.hold(part.file, index);
    const first = index * pieces.size;
    const bytes = piece.bytes.subarray(position - first, endAt - first);
    if (bytes.length === 0) res.destroy();
    // Else the system may still read from it.
    if (await written(res, bytes)) piece.release();
    position += bytes.length;
  }
  if (!res.destroyed) res.end();
}

/** Whether the bytes were taken; false when the connection closed first. */
function written(res: ServerResponse, bytes: Buffer): Promise<boolean> {
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

/** Names that are not plain ASCII go in the form of RFC 6266 too. */
function attachment(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"${plain === name ? "" : `; filename*=UTF-8''${encoded}`}`;
}

/** Answers with a document that was made for this request, or 304 when the client has it already. */
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

/** As `sendDocument`, for what came out of a stranger's archive. */
export function sendConfined(
  reply: FastifyReply,
  document: { readonly type: string; readonly body: string | Buffer },
): FastifyReply {
  return sendDocument(reply.headers(CONFINED), document);
}

/** RFC 9110 §13.1.2: compared weakly. */
function hasTag(field: string | undefined, etag: string): boolean {
  if (field === undefined) return false;
  const tags = field.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}
