/** `GET /metrics` on the public port: the numbers of the whole cluster, for operators, where they want it there too. */
import type { FastifyInstance } from "fastify";
import { CONTENT_TYPE } from "../../shared/metrics/prometheus.ts";
import type { RequireOperator } from "../operators/require-operator.ts";

/** `metricsPage`: undefined when it is not wanted; then there is no such path. */
export function addMetricsRoute(needs: {
  readonly app: FastifyInstance;
  readonly requireOperator: RequireOperator;
  readonly metricsPage: (() => Promise<string>) | undefined;
}): void {
  const { app, requireOperator, metricsPage } = needs;
  if (metricsPage === undefined) return;
  app.get("/metrics", async (_request, reply) => {
    if ((await requireOperator(reply)) === undefined) return reply;
    return reply.header("content-type", CONTENT_TYPE).send(await metricsPage());
  });
}
