/** Parsers of request bodies, for the routes that read one. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";

/** Refuses keys that would change a prototype. An empty body counts as none: the route's own check names what is missing. */
export function parseJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    else void parse(request, body as string, done);
  });
}

/** Parses forms of HTML. Of several fields with one name the first counts. */
export function parseForms(app: FastifyInstance): void {
  app.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string" },
    (_request, body, done) => {
      const fields = new Map<string, string>();
      for (const [name, value] of new URLSearchParams(String(body))) {
        if (!fields.has(name)) fields.set(name, value);
      }
      done(null, fields);
    },
  );
}

/** The fields of a form; empty for any other body. */
export function formOf({ body }: FastifyRequest): ReadonlyMap<unknown, unknown> {
  return body instanceof Map ? body : new Map();
}

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
