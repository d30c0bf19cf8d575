/**
 * The protocol's document messages over connections that follow each other: a guest that was away too long enters its session
 * again with a new connection, and its documents stay. The Yjs provider of the protocol package belongs to one connection for
 * its lifetime, so it gets this one.
 */
import type { MessageTarget, ProtocolBroadcastConnection } from "open-collaboration-protocol";

type Sync = ProtocolBroadcastConnection["sync"];
type DataHandler = Parameters<Sync["onDataUpdate"]>[0];
type QueryHandler = Parameters<Sync["onAwarenessQuery"]>[0];

/** The kind of a document message is its first byte (y-protocols/sync): this one only asks what is missing. */
const SYNC_STEP_1 = 0;
/** The question of a peer that has nothing: an empty state vector, of one byte. */
const ASK_FOR_ALL = Uint8Array.of(SYNC_STEP_1, 1, 0);

/** `mayChange`: whether a peer may change the documents now; its changes are dropped otherwise. */
export function createSyncRelay(mayChange: (peerId: string) => boolean) {
  let current: Sync | undefined;
  const dataHandlers: DataHandler[] = [];
  const awarenessHandlers: DataHandler[] = [];
  const queryHandlers: QueryHandler[] = [];

  /** A peer may leave while a message for it is encrypted: nobody misses that message. */
  async function send(sending: Promise<void> | undefined): Promise<void> {
    await sending?.catch((error: unknown) =>
      console.debug("a document message was not sent", error),
    );
  }

  /** The package's functions are overloaded: `(data)` is for all, `(peer, data)` for one. */
  function sender(name: "dataUpdate" | "awarenessUpdate") {
    return (first: MessageTarget | Uint8Array, data?: Uint8Array): Promise<void> => {
      if (current === undefined) return Promise.resolve();
      if (typeof first === "object") return send(current[name](first));
      return send(data === undefined ? undefined : current[name](first, data));
    };
  }

  return {
    /** For `OpenCollaborationYjsProvider`, which uses nothing else of a connection. */
    connection: {
      sync: {
        onDataUpdate: (handler) => void dataHandlers.push(handler),
        onAwarenessUpdate: (handler) => void awarenessHandlers.push(handler),
        onAwarenessQuery: (handler) => void queryHandlers.push(handler),
        dataUpdate: sender("dataUpdate"),
        awarenessUpdate: sender("awarenessUpdate"),
        awarenessQuery: () => send(current?.awarenessQuery()),
      } satisfies Sync,
    },
    /** Sends all texts to one peer, as if it had asked for them. */
    sendAll(peerId: string): void {
      for (const handler of dataHandlers) void handler(peerId, ASK_FOR_ALL);
    },
    /** Uses `connection` from now on. What is sent without one is dropped: documents are compared after each reconnect. */
    attach(connection: Pick<ProtocolBroadcastConnection, "sync"> | undefined): void {
      current = connection?.sync;
      current?.onDataUpdate((origin, data) => {
        if (data[0] !== SYNC_STEP_1 && !mayChange(origin)) return;
        for (const handler of dataHandlers) void handler(origin, data);
      });
      current?.onAwarenessUpdate((origin, data) => {
        for (const handler of awarenessHandlers) void handler(origin, data);
      });
      current?.onAwarenessQuery((origin) => {
        for (const handler of queryHandlers) void handler(origin);
      });
    },
  };
}
