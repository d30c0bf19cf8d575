/** Parses the bodies of HTML forms, for the routes that read one. */
import type { FastifyInstance, FastifyRequest } from "fastify";

/** Of several fields with one name the first counts. */
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
