/**
 * Requests that go on all the time at a steady pace, so that a fault that costs even one of them is seen.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Agent, fetch } from "undici";
import { onTestFinished } from "vitest";

export interface SteadyTraffic {
  /** What was not answered 200, each with what came instead. */
  readonly failures: readonly string[];
  readonly answered: number;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

/** Between two requests of one base URL. */
const PACE_MS = 50;
const ANSWER_MS = 20_000;

/** Asks each base URL for a small answer, with one of many keys each time, until it is stopped or the test ends. */
export function startTraffic(baseUrls: readonly string[]): SteadyTraffic {
  const failures: string[] = [];
  const agent = new Agent();
  let answered = 0;
  let isStopped = false;

  async function ask(baseUrl: string, key: string): Promise<void> {
    const sentMs = performance.now();
    try {
      const answer = await fetch(`${baseUrl}/api/meta`, {
        dispatcher: agent,
        headers: { ctstickiness: key },
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      const text = await answer.text();
      if (answer.status !== 200) failures.push(`${key}: ${answer.status} ${text.slice(0, 200)}`);
      else answered++;
    } catch (error) {
      const tookMs = Math.round(performance.now() - sentMs);
      failures.push(`${key}: ${causes(error)} after ${tookMs} ms`);
    }
  }

  async function run(baseUrl: string): Promise<void> {
    const underWay = new Set<Promise<void>>();
    for (let i = 0; !isStopped; i++) {
      const asked = ask(baseUrl, `team-${i % 100}`).finally(() => underWay.delete(asked));
      underWay.add(asked);
      await delay(PACE_MS);
    }
    await Promise.all(underWay);
  }

  const running = Promise.all(baseUrls.map(run));
  const stop = async (): Promise<void> => {
    isStopped = true;
    await running;
    await agent.close();
  };
  onTestFinished(async () => {
    if (!isStopped) await stop();
  });
  return {
    failures,
    get answered() {
      return answered;
    },
    stop,
  };
}

/** What failed, and why: `fetch` says the first only. */
function causes(error: unknown): string {
  const text = String(error);
  return error instanceof Error && error.cause !== undefined
    ? `${text} because of ${causes(error.cause)}`
    : text;
}
