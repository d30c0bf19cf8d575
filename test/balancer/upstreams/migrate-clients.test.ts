/**
 * Migrate requests of a balancer, to a real worker and to other servers.
 */
import { expect, test } from "vitest";
import { createMigrateRequests } from "../../../balancer/upstreams/migrate-clients.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { addressProof } from "../../../shared/net/edge-headers.ts";
import { until } from "../../support/until.ts";
import { startWorker } from "../../worker/api/fixture.ts";
import { rawPeer } from "../../worker/sessions/fixture.ts";
import { KEYS } from "../../worker/worker-parts.ts";
import { startRawWorker, startSimpleWorker, workerRecord } from "../rig.ts";

const migrate = createMigrateRequests("balancer-1" as WorkerId);

test.each(["by its id", "by its address, as with a fixed list"])(
  "a worker that is named %s migrates the clients in the request",
  async (meant) => {
    const worker = await startWorker();
    const created = await worker.ask("POST", "/api/session/create", {
      headers: { "x-oct-jwt": await worker.signIn("Host") },
    });
    const { roomToken } = created.body as { roomToken: string };
    const headers = { "x-request-id": "b1-17" };
    const host = await rawPeer({ url: worker.url, roomToken, headers }).ready();
    await until("it has a WebSocket", () => host.socket.io.engine.transport.name === "websocket");
    const record = workerRecord(worker.id, worker.port);
    const proof =
      meant === "by its id" ? worker.proof : addressProof(KEYS.edge, `127.0.0.1:${worker.port}`);

    await migrate({ record, proof }, ["b1-16", "b1-18"]);
    expect(host.disconnects).toEqual([]);
    await migrate({ record, proof }, ["b1-16", "b1-17"]);
    await until("the host is back", () => host.connects === 2);
  },
);

test("a worker of the previous version gets the migrate request under its former path", async () => {
  const requests: string[] = [];
  const worker = await startSimpleWorker((head) => {
    const path = head.split(" ")[1] ?? "";
    requests.push(path);
    const status = path === "/ct-edge/farewell" ? "204 No Content" : "404 Not Found";
    return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;
  });
  await migrate({ record: workerRecord("w1", worker.port), proof: "p" }, ["a", "b"]);
  expect(requests).toEqual(["/ct-edge/migrate", "/ct-edge/farewell"]);
});

test("the error of a failed migrate request says why the worker did not migrate clients", async () => {
  const older = await startSimpleWorker(
    () => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
  );
  const silent = await startRawWorker();
  const recordOf = (worker: { port: number }) => workerRecord("w1", worker.port);
  await expect(migrate({ record: recordOf(older), proof: undefined }, ["a"])).rejects.toThrow(
    "there is no CT_SECRET",
  );
  await expect(migrate({ record: recordOf(older), proof: "p" }, ["a"])).rejects.toThrow(
    "status 404",
  );
  await expect(migrate({ record: recordOf(silent), proof: "p" }, ["a"])).rejects.toThrow(
    "no response in time",
  );
});
