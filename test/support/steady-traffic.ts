/**
 * Sends requests at a steady rate, so that a fault that affects even one of them is noticed.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Agent, fetch } from "undici";
import { atEnd } from "./at-end.ts";
import { until } from "./until.ts";

export interface SteadyTraffic {
  readonly answered: number;
  /** Stops, and waits for pending requests. Resolves with those without a 200, each with its status or error. */
  stop(): Promise<readonly string[]>;
}

const PACE_MS = 50;
const TIMEOUT_MS = 20_000;

/** Sends requests with varying keys to each base URL, until it is stopped or the test ends. Resolves when they are answered. */
export async function startTraffic(baseUrls: readonly string[]): Promise<SteadyTraffic> {
  const failures: string[] = [];
  const agent = new Agent();
  let answered = 0;
  let isStopped = false;

  async function send(baseUrl: string, key: string): Promise<void> {
    const sentMs = performance.now();
    try {
      const response = await fetch(`${baseUrl}/api/meta`, {
        dispatcher: agent,
        headers: { ctstickiness: key },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const text = await response.text();
      if (response.status !== 200)
        failures.push(`${key}: ${response.status} ${text.slice(0, 200)}`);
      else answered++;
    } catch (error) {
      const tookMs = Math.round(performance.now() - sentMs);
      failures.push(`${key}: ${causes(error)} after ${tookMs} ms`);
    }
  }

  async function run(baseUrl: string): Promise<void> {
    const pending = new Set<Promise<void>>();
    for (let i = 0; !isStopped; i++) {
      const sent = send(baseUrl, `team-${i % 100}`).finally(() => pending.delete(sent));
      pending.add(sent);
      await delay(PACE_MS);
    }
    await Promise.all(pending);
  }

  const running = Promise.all(baseUrls.map(run));
  const stop = async (): Promise<readonly string[]> => {
    isStopped = true;
    await running;
    if (!agent.closed) await agent.close();
    return failures;
  };
  atEnd(stop);
  await until("traffic flows", () => answered > 20);
  return {
    get answered() {
      return answered;
    },
    stop,
  };
}

/** The error with all of its causes, which `fetch` leaves out of its message. */
function causes(error: unknown): string {
  const text = String(error);
  return error instanceof Error && error.cause !== undefined
    ? `${text} because of ${causes(error.cause)}`
    : text;
}
