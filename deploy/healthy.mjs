// The image's health check: requests the program's readiness from its status port, prints the response (`docker inspect`
// keeps it) and exits with 0 or 1. Plain JavaScript with node:http only, because it starts every few seconds.
import { get } from "node:http";

const TIMEOUT_MS = 2000;
const bind = process.env.CT_STATUS_BIND || "127.0.0.1";
const everywhere = bind === "0.0.0.0" || bind === "::";

const request = get(
  {
    host: everywhere ? "127.0.0.1" : bind,
    port: process.env.CT_STATUS_PORT,
    path: "/health/ready",
    agent: false,
    timeout: TIMEOUT_MS,
  },
  (response) => {
    response.pipe(process.stdout);
    process.exitCode = response.statusCode === 200 ? 0 : 1;
  },
);
request.on("timeout", () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
request.on("error", (error) => {
  process.stdout.write(`${error.message}\n`);
  process.exitCode = 1;
});
