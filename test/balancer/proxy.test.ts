import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ok, type RawWorker, type Rig, startRig, startSimpleWorker, workerRecord } from "./rig.ts";

let worker: RawWorker;
let rig: Rig;

describe("one worker that answers at once", () => {
  beforeEach(async () => {
    worker = await startSimpleWorker((head) => ok(head.split("\r\n")[0] ?? ""));
    rig = await startRig({ workers: [workerRecord("w1", worker.port)] });
  });
  afterEach(async () => {
    await rig.close();
    await worker.close();
    expect(rig.bugs).toEqual([]);
  });

  test("a request reaches it and its answer comes back", async () => {
    const text = await rig.ask("GET /a?b=c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(text).toContain("HTTP/1.1 200 OK\r\n");
    expect(text).toContain("GET /a?b=c HTTP/1.1");
  });

  test("pipelined requests are answered in order, over one connection to the worker", async () => {
    const client = await rig.client();
    client.write(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    await client.has("GET /3");
    expect(client.text.indexOf("GET /1")).toBeLessThan(client.text.indexOf("GET /2"));
    expect(client.text.indexOf("GET /2")).toBeLessThan(client.text.indexOf("GET /3"));
    expect(worker.connections).toHaveLength(1);
  });
});
