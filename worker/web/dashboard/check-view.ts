/**
 * The checks: those that the edge runs itself, and two that only a browser can run through all proxies in between: whether a
 * WebSocket gets through, and whether requests with the same session key reach the same worker.
 */
import type { CheckResponse, EchoResponse } from "../../dashboard/responses.ts";
import { byId, fillTable, type TableOf } from "./elements.ts";
import { getJson } from "./feed.ts";

type Check = CheckResponse["checks"][number];

const CHECKS: TableOf<Check> = {
  keyOf: ({ name, detail }) => `${name} ${detail}`,
  none: "",
  columns: [
    ["Check", ({ name }) => name],
    ["Outcome", ({ outcome }) => ({ text: outcome, badge: outcome })],
    ["Details", ({ detail }) => detail],
  ],
};
const WEB_SOCKET_TIMEOUT_MS = 5000;
/** With two workers, random routing passes this check once in a thousand times. */
const KEYS = 2;
const REQUESTS_PER_KEY = 6;

export function createCheckView(): { run: () => void } {
  const table = byId("check-table", HTMLTableElement);
  const button = byId("check-run", HTMLButtonElement);

  async function run(): Promise<void> {
    button.disabled = true;
    const [edge, webSocket, stickiness] = await Promise.all([
      checkEdge(),
      checkWebSocket(),
      checkStickiness(),
    ]);
    fillTable(table, CHECKS, [webSocket, stickiness, ...edge]);
    button.disabled = false;
  }

  button.addEventListener("click", () => void run());
  return { run: () => void run() };
}

async function checkEdge(): Promise<readonly Check[]> {
  try {
    return (await getJson<CheckResponse>("check")).checks;
  } catch (error) {
    return [{ name: "Edge", outcome: "bad", detail: String(error) }];
  }
}

/** Proxies and firewalls in between may pass only plain HTTP. */
function checkWebSocket(): Promise<Check> {
  const name = "WebSocket from this browser";
  const base = new URL("..", location.href);
  base.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  const url = `${base.href}socket.io/?EIO=4&transport=websocket`;
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const socket = new WebSocket(url);
    const finish = (outcome: Check["outcome"], detail: string): void => {
      clearTimeout(timer);
      socket.onclose = null;
      socket.close();
      resolve({ name, outcome, detail });
    };
    const timer = setTimeout(
      () => finish("bad", "no response within 5 s; a proxy in between may hold it back"),
      WEB_SOCKET_TIMEOUT_MS,
    );
    socket.onmessage = () =>
      finish("good", `responded in ${Math.round(performance.now() - startedMs)} ms`);
    socket.onclose = () =>
      finish("bad", "connection refused; a proxy or firewall in between may block WebSockets");
  });
}

async function checkStickiness(): Promise<Check> {
  const name = "Stickiness";
  try {
    const keys = Array.from(
      { length: KEYS },
      () => `check-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`,
    );
    const workersByKey = new Map<string, Set<string>>();
    let workerCount: number | null = null;
    for (const key of keys) {
      const responses = await Promise.all(
        Array.from({ length: REQUESTS_PER_KEY }, () =>
          getJson<EchoResponse>("echo", { ctstickiness: key }),
        ),
      );
      workersByKey.set(key, new Set(responses.map(({ worker }) => worker)));
      workerCount = responses.at(-1)?.workers ?? null;
    }
    return { name, ...judgeStickiness([...workersByKey.values()], workerCount) };
  } catch (error) {
    return { name, outcome: "unknown", detail: String(error) };
  }
}

function judgeStickiness(
  workersOfKeys: readonly ReadonlySet<string>[],
  workerCount: number | null,
): Omit<Check, "name"> {
  const split = workersOfKeys.find((workers) => workers.size > 1);
  if (split !== undefined) {
    const which = [...split].join(" and ");
    const detail = `requests with the same key reached ${which}; a proxy in between may strip the ctstickiness header`;
    return { outcome: "bad", detail };
  }
  if (workerCount === null || workerCount < 2) {
    const reason =
      workerCount === null ? "the number of workers is unknown" : "there is only one worker";
    return { outcome: "unknown", detail: `cannot be checked: ${reason}` };
  }
  const which = [...new Set(workersOfKeys.flatMap((workers) => [...workers]))].join(" and ");
  return {
    outcome: "good",
    detail: `requests with the same key reach the same worker: ${KEYS} keys, ${REQUESTS_PER_KEY} requests each (${which})`,
  };
}
