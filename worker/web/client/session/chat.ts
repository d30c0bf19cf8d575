/** The chat of a session. What is said while there is no connection is sent when there is one again. */
import { type Signal, signal } from "@preact/signals";
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import type { ChatLine, Person } from "../model/session.ts";

const MAX_LINES = 1000;
const MAX_TEXT_CHARS = 10_000;
const WRITING_SENT_MS = 2000;
const WRITING_SHOWN_MS = 4000;
/** A server that refuses a returning peer accepts its connection first; the refusal follows within this time. */
const REFUSED_WITHIN_MS = 1000;

export function createChat(personOf: (peerId: string) => Person | undefined) {
  const lines: Signal<readonly ChatLine[]> = signal([]);
  const writing: Signal<readonly string[]> = signal([]);
  const writers = new Map<string, ReturnType<typeof setTimeout>>();
  const unsent: string[] = [];
  let live: ProtocolBroadcastConnection | undefined;
  let liveSinceMs = 0;
  /** Sent on a connection that may still be refused. */
  let unsure: string[] = [];
  let lastId = 0;
  let writingSentMs = Number.NEGATIVE_INFINITY;

  function add(from: Person | undefined, text: string, isDirect: boolean): void {
    const line = { id: ++lastId, from, text, atMs: Date.now(), isDirect };
    lines.value = [...lines.peek(), line].slice(-MAX_LINES);
  }

  function showWriters(): void {
    writing.value = [...writers.keys()].flatMap((id) => personOf(id)?.name ?? []);
  }

  function stopWriting(peerId: string): void {
    clearTimeout(writers.get(peerId));
    if (writers.delete(peerId)) showWriters();
  }

  async function send(): Promise<void> {
    while (live !== undefined && unsent[0] !== undefined) {
      const [text] = unsent.splice(0, 1);
      if (text === undefined) return;
      if (performance.now() - liveSinceMs < REFUSED_WITHIN_MS) unsure.push(text);
      await live.chat.sendMessage(text);
    }
  }

  return {
    lines,
    writing,
    say: async (text: string): Promise<void> => {
      const cut = text.slice(0, MAX_TEXT_CHARS);
      add(undefined, cut, false);
      unsent.push(cut);
      await send();
    },
    noteWriting: (): void => {
      if (live === undefined || performance.now() - writingSentMs < WRITING_SENT_MS) return;
      writingSentMs = performance.now();
      live.chat.isWriting().catch(() => {});
    },
    /** Receives from `connection`. */
    attach(connection: ProtocolBroadcastConnection): void {
      connection.chat.onMessage((origin, text, isDirect) => {
        stopWriting(origin);
        const person = personOf(origin);
        if (person === undefined || typeof text !== "string") return;
        add(person, text.slice(0, MAX_TEXT_CHARS), isDirect);
      });
      connection.chat.onIsWriting((origin) => {
        clearTimeout(writers.get(origin));
        writers.set(
          origin,
          setTimeout(() => stopWriting(origin), WRITING_SHOWN_MS),
        );
        showWriters();
      });
    },
    /** Sends through `connection` from now on. */
    setLive(connection: ProtocolBroadcastConnection): void {
      live = connection;
      liveSinceMs = performance.now();
      unsure = [];
      send().catch((error: unknown) => console.debug("a chat message was not sent", error));
    },
    /** Waits. `isRefused`: the server did not accept the connection, and has dropped what was just sent. */
    setAway(isRefused: boolean): void {
      live = undefined;
      if (isRefused && performance.now() - liveSinceMs < REFUSED_WITHIN_MS) {
        unsent.unshift(...unsure);
      }
      unsure = [];
    },
  };
}
