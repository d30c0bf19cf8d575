/** The URL that a start prints works for every address of `localhost`. */
import { Agent, fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { startEdge } from "../support/edge-process.ts";
import { loopbacks } from "../support/ports.ts";

test("an edge without CT_BIND answers on both ports at each address of localhost", async () => {
  const edge = await startEdge({ env: { CT_BIND: "" } });
  const insecure = new Agent({ connect: { rejectUnauthorized: false } });
  onTestFinished(() => insecure.close());
  for (const address of loopbacks()) {
    const host = address.includes(":") ? `[${address}]` : address;
    for (const url of [`http://${host}:${edge.httpPort}`, `https://${host}:${edge.tlsPort}`]) {
      const answer = await fetch(`${url}/api/meta`, { dispatcher: insecure });
      expect(answer.status, url).toBe(200);
      await answer.body?.cancel();
    }
  }
});
