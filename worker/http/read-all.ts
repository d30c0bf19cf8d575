import type { IncomingMessage } from "node:http";

/** Reads a request's body; undefined when it has more than `maxBytes`. Rejects when the connection closes early. */
export async function readAll(req: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of req) {
    const bytes = chunk as Buffer;
    length += bytes.length;
    if (length > maxBytes) return undefined;
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
