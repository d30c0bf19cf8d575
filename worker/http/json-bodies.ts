/** Parses JSON bodies, for the routes that read one. */
import type { FastifyInstance } from "fastify";

/** Refuses keys that would change a prototype. An empty body counts as none: the route's own check names what is missing. */
export function parseJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    else void parse(request, body as string, done);
  });
}
