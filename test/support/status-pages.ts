/** A status port with nothing but the pages of the test. */
import { openStatusPort, type StatusPage } from "../../shared/process/status-port.ts";
import { atEnd } from "./at-end.ts";

/** Its URL. It closes when the test ends. */
export async function serveStatusPages(pages: Record<string, StatusPage>): Promise<string> {
  const status = await openStatusPort({
    host: "127.0.0.1",
    port: 0,
    source: {
      readiness: () => ({ notReady: [], degraded: [] }),
      view: () => ({}),
      metrics: async () => "",
      pages,
    },
  });
  atEnd(() => status.close());
  return `http://127.0.0.1:${status.port}`;
}
