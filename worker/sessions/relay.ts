/**
 * Who gets a message: the decision alone. Values in, values out.
 */
import type { PeerId } from "../../shared/base/ids.ts";
import type { Message, WrappedKey } from "./wire/protocol.ts";

export type Route =
  /** To each of these with its own key. `keyless`: peers for whom the sender put no key; they get nothing. */
  | { readonly action: "broadcast"; readonly to: readonly Receiver[]; readonly keyless: number }
  | { readonly action: "notify"; readonly to: PeerId }
  | { readonly action: "ask"; readonly of: PeerId }
  /** The request cannot be delivered: its sender is told so. */
  | { readonly action: "fail" }
  /** An answer to a request; its id says whose. */
  | { readonly action: "answer" }
  /** Said to the worker itself; the content says what. */
  | { readonly action: "hear" }
  | { readonly action: "drop"; readonly reason: DropReason };

export interface Receiver {
  readonly peer: PeerId;
  readonly key: WrappedKey;
}

/**
 * `plain`: peers must not say anything to each other that a worker could read or forge. `target`: for nobody in this
 * session.
 */
export type DropReason = "plain" | "target";

/** Who is in the session. */
export interface Audience {
  has(id: string): boolean;
  ids(): Iterable<PeerId>;
}

/** What becomes of `message`, sent by `sender`. The sender never gets its own broadcast. */
export function route(message: Message, sender: PeerId, audience: Audience): Route {
  switch (message.kind) {
    case "response":
    case "response-error":
      return { action: "answer" };
    case "request":
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return isPeer(message.target, audience)
        ? { action: "ask", of: message.target }
        : { action: "fail" };
    case "notification":
      if (message.target === "") return { action: "hear" };
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return isPeer(message.target, audience)
        ? { action: "notify", to: message.target }
        : { action: "drop", reason: "target" };
    case "broadcast":
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return routeBroadcast(message, sender, audience);
  }
}

function routeBroadcast(message: Message, sender: PeerId, audience: Audience): Route {
  const keys = new Map<string, WrappedKey>();
  for (const key of message.metadata.keys) {
    // The first counts, as in a search from the front.
    if (!keys.has(key.target)) keys.set(key.target, key);
  }
  const to: Receiver[] = [];
  let keyless = 0;
  for (const peer of audience.ids()) {
    if (peer === sender) continue;
    const key = keys.get(peer);
    if (key === undefined) keyless++;
    else to.push({ peer, key });
  }
  return { action: "broadcast", to, keyless };
}

function isPeer(target: string | undefined, audience: Audience): target is PeerId {
  return target !== undefined && audience.has(target);
}
