/** The requests to join that a host has to decide. */
import { type Signal, signal } from "@preact/signals";
import { Encoding, RequestMessage, type User, type Workspace } from "open-collaboration-protocol";
import type { JoinRequest } from "../model/session.ts";

/** The server answers a guest for a host that does not decide within this time. */
const DECISION_MS = 300_000;
/** Requests to join are small; larger messages are not searched for one. */
const MAX_REQUEST_BYTES = 8192;
const MAX_REQUESTS = 100;

/**
 * The server sends each request once, so the messages are kept: after a reload they are handled again. They are in plain text
 * and are handled in the order in which they arrive.
 */
export function createJoinRequests(workspace: Workspace, remember: () => void) {
  const open: Signal<readonly JoinRequest[]> = signal([]);
  const arrived: Uint8Array[] = [];
  const unanswered = new Map<string, Uint8Array>();
  let lastId = 0;

  return {
    open,
    /** The server's messages that are not answered yet. */
    get unanswered(): readonly Uint8Array[] {
      return [...unanswered.values()];
    },
    tap: (message: Uint8Array): void => {
      if (message.length <= MAX_REQUEST_BYTES && isJoinRequest(message)) arrived.push(message);
    },
    ask(user: User): Promise<{ readonly workspace: Workspace } | undefined> {
      const id = String(++lastId);
      const message = arrived.shift();
      if (open.peek().length >= MAX_REQUESTS) return Promise.resolve(undefined);
      if (message !== undefined) unanswered.set(id, message);
      remember();
      return new Promise((resolve) => {
        const decide = (isAccepted: boolean): void => {
          clearTimeout(timer);
          unanswered.delete(id);
          open.value = open.peek().filter((request) => request.id !== id);
          remember();
          resolve(isAccepted ? { workspace } : undefined);
        };
        const timer = setTimeout(() => decide(false), DECISION_MS);
        const request = { id, ...describeUser(user), decide };
        open.value = [...open.peek(), request];
      });
    },
  };
}

const JOIN_METHOD = "peer/join";

/** The method's name may also be the name of a guest: only then is the message decoded in vain. */
function isJoinRequest(message: Uint8Array): boolean {
  if (!new TextDecoder("latin1").decode(message).includes(JOIN_METHOD)) return false;
  try {
    const decoded: unknown = Encoding.decode(message);
    return (
      RequestMessage.is(decoded) && decoded.origin === "" && decoded.content.method === JOIN_METHOD
    );
  } catch {
    return false;
  }
}

function describeUser({ name, email, authProvider }: User) {
  const short = (text: string): string => text.slice(0, 100);
  return {
    name: short(String(name)),
    email: email === undefined || email === "" ? undefined : short(String(email)),
    signedInBy: authProvider === undefined ? undefined : short(String(authProvider)),
  };
}
