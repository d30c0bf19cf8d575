/** Bodies of requests that are JSON, for the routes that read one. */
import type { FastifyInstance } from "fastify";

/** JSON without prototype tricks. An empty body is no body: the route's own check says what is missing. */
export function parseJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    else void parse(request, body as string, done);
  });
}
