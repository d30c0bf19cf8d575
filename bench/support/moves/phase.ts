/** One phase of a round: people send messages, sessions move or, in the control, do not, and the people's counts are read. */
import type { CountedSessions, Figures, Gaps } from "../../../test/support/counted/sessions.ts";
import { until } from "../../../test/support/until.ts";
import type { Move } from "./parts.ts";

export interface Phase {
  readonly figures: Figures;
  /** For each move of a session and each of its people, in ms. */
  readonly gapsMs: readonly number[];
  /** Of the people whose sessions stay, in the same time. */
  readonly otherGapsMs: readonly number[];
  /** What was moved when, to repeat the same without a move. */
  readonly moves: readonly { readonly sessionIds: readonly string[]; readonly tookMs: number }[];
  /** Clients that are not connected at the end. */
  readonly away: number;
}

/** Clients give up after 30 s. */
const BACK_MS = 40_000;
const LAST_MESSAGES_MS = 10_000;
/** Messages of each person before the first move. */
const FIRST_MESSAGES = 2;

export async function runPhase(
  clients: CountedSessions,
  perSecond: number,
  moves: AsyncIterable<Move>,
): Promise<Phase> {
  await clients.start(perSecond);
  await until("all people are sending", async () => {
    const { sent, people } = await clients.state();
    return sent >= FIRST_MESSAGES * people;
  });
  const seen: { sessionIds: readonly string[]; fromMs: number; toMs: number }[] = [];
  for await (const { sessionIds, run } of moves) {
    const fromMs = await clients.nowMs();
    await run();
    // A late client is in the figures.
    await until("all are connected", () => areConnected(clients), BACK_MS).catch(() => {});
    seen.push({ sessionIds, fromMs, toMs: await clients.nowMs() });
  }
  await clients.stop();
  const isComplete = async () => (await clients.state()).missing === 0;
  await until("all messages have arrived", isComplete, LAST_MESSAGES_MS).catch(() => {});
  const gaps: Gaps[] = [];
  for (const period of seen) gaps.push(await clients.gaps(period));
  const { people, connected } = await clients.state();
  return {
    figures: await clients.figures(),
    gapsMs: gaps.flatMap(({ moved }) => moved),
    otherGapsMs: gaps.flatMap(({ others }) => others),
    moves: seen.map(({ sessionIds, fromMs, toMs }) => ({ sessionIds, tookMs: toMs - fromMs })),
    away: people - connected,
  };
}

/** As long as the moves of `phase` took, for the same sessions. */
export async function* withoutMoves({ moves }: Phase): AsyncGenerator<Move> {
  for (const { sessionIds, tookMs } of moves) {
    yield { sessionIds, run: () => new Promise((resolve) => setTimeout(resolve, tookMs)) };
  }
}

async function areConnected(clients: CountedSessions): Promise<boolean> {
  const { people, connected } = await clients.state();
  return connected === people;
}
