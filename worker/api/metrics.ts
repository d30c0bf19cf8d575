/** `GET /metrics` on the public port: the metrics of the whole cluster, for operators. */
import type { FastifyInstance } from "fastify";
import { CONTENT_TYPE } from "../../shared/metrics/prometheus.ts";
import type { RequireOperator } from "../operators/require-operator.ts";

/** Without `metricsPage` the path does not exist. */
export function addMetricsRoute(deps: {
  readonly app: FastifyInstance;
  readonly requireOperator: RequireOperator;
  readonly metricsPage: (() => Promise<string>) | undefined;
}): void {
  const { app, requireOperator, metricsPage } = deps;
  if (metricsPage === undefined) return;
  app.get("/metrics", async (_request, reply) => {
    if ((await requireOperator(reply, "read")) === undefined) return reply;
    return reply.header("content-type", CONTENT_TYPE).send(await metricsPage());
  });
}
