/**
 * The checks: what the edge says of itself, and what only a browser can find out: whether its WebSockets get through, and
 * whether what belongs together comes to one worker, through all that lies between.
 */
import type { CheckResponse, EchoResponse } from "../../dashboard/responses.ts";
import { byId, fillTable } from "./elements.ts";
import { ask } from "./feed.ts";

type Check = CheckResponse["checks"][number];

const COLUMNS = ["Check", "Outcome", "Details"];
const WEB_SOCKET_TIMEOUT_MS = 5000;
/** As many keys and questions that chance finds the same worker for all of them once in a thousand times. */
const KEYS = 2;
const QUESTIONS_PER_KEY = 6;

export function createCheckView(): { run: () => void } {
  const table = byId("check-table", HTMLTableElement);
  const button = byId("check-run", HTMLButtonElement);

  async function run(): Promise<void> {
    button.disabled = true;
    const [own, webSocket, stickiness] = await Promise.all([
      checkEdge(),
      checkWebSocket(),
      checkStickiness(),
    ]);
    fillTable(
      table,
      COLUMNS,
      [webSocket, stickiness, ...own].map(({ name, outcome, detail }) => ({
        key: `${name} ${detail}`,
        cells: [{ text: name }, { text: outcome, badge: outcome }, { text: detail }],
      })),
      "",
    );
    button.disabled = false;
  }

  button.addEventListener("click", () => void run());
  return { run: () => void run() };
}

async function checkEdge(): Promise<readonly Check[]> {
  try {
    return (await ask<CheckResponse>("check")).checks;
  } catch (error) {
    return [{ name: "Edge", outcome: "bad", detail: String(error) }];
  }
}

/** Whether a WebSocket gets through from this browser: proxies and firewalls on the way may let only HTTP through. */
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

/** Whether requests with the same session key come to the same worker. */
async function checkStickiness(): Promise<Check> {
  const name = "Stickiness";
  try {
    const keys = Array.from(
      { length: KEYS },
      () => `check-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`,
    );
    const workersByKey = new Map<string, Set<string>>();
    let known: number | null = null;
    for (const key of keys) {
      const answers = await Promise.all(
        Array.from({ length: QUESTIONS_PER_KEY }, () =>
          ask<EchoResponse>("echo", { ctstickiness: key }),
        ),
      );
      workersByKey.set(key, new Set(answers.map(({ worker }) => worker)));
      known = answers.at(-1)?.workers ?? null;
    }
    return { name, ...judgeStickiness([...workersByKey.values()], known) };
  } catch (error) {
    return { name, outcome: "unknown", detail: String(error) };
  }
}

function judgeStickiness(
  workers: readonly ReadonlySet<string>[],
  known: number | null,
): Omit<Check, "name"> {
  const torn = workers.find((some) => some.size > 1);
  if (torn !== undefined) {
    const which = [...torn].join(" and ");
    const detail = `requests with the same key reached ${which}; a proxy in between may strip the ctstickiness header`;
    return { outcome: "bad", detail };
  }
  if (known === null || known < 2) {
    const detail =
      known === null ? "the store does not say how many workers there are" : "there is one worker";
    return { outcome: "unknown", detail: `${detail}: nothing can be told apart` };
  }
  const which = [...new Set(workers.flatMap((some) => [...some]))].join(" and ");
  return {
    outcome: "good",
    detail: `${KEYS} keys, ${QUESTIONS_PER_KEY} requests with each: those of one key always at the same worker (${which})`,
  };
}
