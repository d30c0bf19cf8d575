import type { IncomingMessage } from "node:http";

/** The body of a request, of at most `maxBytes`; undefined when it is longer. Rejects when the sender breaks off. */
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
