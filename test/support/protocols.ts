/**
 * The published protocol packages that current clients use: Theia 1.75 ships 0.3.0, others 0.3.1 or the newest, 0.3.3.
 */
import * as newest from "open-collaboration-protocol";
import * as package030 from "open-collaboration-protocol-0.3.0";
import * as package031 from "open-collaboration-protocol-0.3.1";

export const PROTOCOL_PACKAGES = ["0.3.0", "0.3.1", "0.3.3"] as const;
export type ProtocolPackageName = (typeof PROTOCOL_PACKAGES)[number];

/** The part of a package that clients use. */
export type ProtocolPackage = Pick<
  typeof newest,
  "ConnectionProvider" | "SocketIoTransportProvider" | "VERSION" | "initializeProtocol"
>;

const NEWEST = "0.3.3";

const PACKAGES: Readonly<Record<ProtocolPackageName, ProtocolPackage>> = {
  // Their classes differ only in private members and in the chat, which `chatOf` adds.
  "0.3.0": package030 as unknown as ProtocolPackage,
  "0.3.1": package031 as unknown as ProtocolPackage,
  [NEWEST]: newest,
};

export function protocolPackage(name: ProtocolPackageName = NEWEST): ProtocolPackage {
  return PACKAGES[name];
}

/**
 * Disposes of a connection and of the requests that it waits for. The package would reject those a minute later, when other tests
 * run. Their map is private in the package.
 */
export function disposeConnection(connection: newest.ProtocolBroadcastConnection): void {
  const pending = Reflect.get(connection, "requestMap") as ReadonlyMap<unknown, PendingRequest>;
  for (const request of [...pending.values()]) {
    request.response.reject = () => {};
    request.dispose();
  }
  connection.dispose();
}

interface PendingRequest {
  readonly response: { reject: (error: Error) => void };
  dispose(): void;
}

type Chat = newest.ProtocolBroadcastConnection["chat"];

/** The chat of a connection; for packages without one, built from the same messages. */
export function chatOf(connection: newest.ProtocolBroadcastConnection): Chat {
  return Reflect.has(connection, "chat") ? connection.chat : createChat(connection);
}

function createChat(original: newest.ProtocolBroadcastConnection): Chat {
  // The interface lacks the methods with targets of its only implementation.
  const connection = original as unknown as newest.AbstractBroadcastConnection;
  const { ChatMessage, DirectChatMessage, IsWriting } = newest.Messages.Chat;
  return {
    sendMessage: (text) => connection.sendBroadcast(ChatMessage, text),
    sendDirectMessage: (target, text) =>
      connection.sendNotification(DirectChatMessage, target, text),
    isWriting: () => connection.sendBroadcast(IsWriting),
    onMessage(handler) {
      connection.onBroadcast(ChatMessage, (origin, text) => handler(origin, text, false));
      connection.onNotification(DirectChatMessage, (origin, text) => handler(origin, text, true));
    },
    onIsWriting: (handler) => connection.onBroadcast(IsWriting, handler),
  };
}
