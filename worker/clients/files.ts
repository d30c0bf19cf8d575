/**
 * Sends files and small documents: with validators, so that nobody fetches twice what has not changed, files in parts if
 * asked for. Bytes are never compressed on the way: their checksums must stay true.
 */
import { createHash } from "node:crypto";
import type { ReadStream } from "node:fs";
import { extname } from "node:path";
import type { Readable } from "node:stream";
import send from "@fastify/send";
import type { FastifyReply } from "fastify";
import { textAnswer } from "../api/answers.ts";

/** May be kept, but is asked for again each time: what has a name today may have another content tomorrow. */
const REVALIDATE = "no-cache";
/** Measured (bench/downloads.ts): larger pieces cost memory for each download and save little. */
const CHUNK_BYTES = 128 * 1024;

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

/**
 * Answers with a file, or as the request's conditions and range demand: 304, 206, 412, 416. `saveAs` makes browsers store
 * it under that name. `onBegin` is called when its first bytes are going to be sent, which counts as one download.
 */
export async function sendFile(
  reply: FastifyReply,
  file: {
    readonly path: string;
    readonly type: string;
    readonly saveAs?: string | undefined;
    readonly onBegin?: (() => void) | undefined;
  },
): Promise<FastifyReply> {
  const { raw } = reply.request;
  const { range, ...others } = raw.headers;
  // A range means nothing to HEAD (RFC 9110 §14.2).
  const headers = raw.method === "HEAD" || range === undefined ? others : { ...others, range };
  // All that is used of a request.
  const asked = { method: raw.method, headers } as unknown as Readable;
  const result = await send(asked, encodeURIComponent(file.path), {
    cacheControl: false,
    contentType: false,
    dotfiles: "allow",
    index: false,
    highWaterMark: CHUNK_BYTES,
  });
  const { statusCode, stream } = result;
  if (result.type !== "file") {
    stream.destroy();
    const contentRange = result.headers["Content-Range"];
    if (contentRange !== undefined) reply.header("content-range", contentRange);
    const answer = textAnswer(statusCode, REFUSALS[statusCode] ?? "Not found");
    return reply.code(statusCode).headers(answer.fields).send(answer.body);
  }
  reply.code(statusCode).headers({
    ...result.headers,
    ...CONFINED,
    "cache-control": REVALIDATE,
    ...(statusCode !== 304 && { "content-type": file.type }),
    ...(file.saveAs !== undefined && { "content-disposition": attachment(file.saveAs) }),
  });
  if (statusCode === 304) {
    stream.destroy();
    return reply.send();
  }
  // An empty stream, because the framework sets another length where there is no body at all.
  if (raw.method === "HEAD") return reply.send(stream);
  if (isBeginning(result.headers["Content-Range"])) file.onBegin?.();
  cutWhenShort(reply, stream as ReadStream, Number(result.headers["Content-Length"]));
  return reply.send(stream);
}

const REFUSALS: Readonly<Record<number, string>> = {
  412: "The file is another one now",
  416: "The file does not have these bytes",
};

/** Later parts belong to a download that has been counted. */
function isBeginning(contentRange: string | undefined): boolean {
  return contentRange === undefined || contentRange.startsWith("bytes 0-");
}

/** A file that has become shorter meanwhile: a clean end would make the client wait, or take a part for the whole. */
function cutWhenShort(reply: FastifyReply, stream: ReadStream, length: number): void {
  stream.once("end", () => {
    if (stream.bytesRead < length) reply.raw.destroy();
  });
}

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
