/** One connection to one session, as one peer. */
import {
  BroadcastMessage,
  createConnection,
  Encoding,
  type InitData,
  Messages,
  NotificationMessage,
  type Peer,
} from "open-collaboration-protocol";
import { type Keys, privateKeyHandle } from "./keys.ts";
import { checkSenders } from "./senders.ts";
import { sleep, withinTime } from "./timing.ts";
import { createTransport, type TransportNames } from "./transport.ts";

const LEAVE_MS = 1000;
/** As in the IDEs: a connection that is closed in the same moment takes its last message with it. */
const LEAVE_GRACE_MS = 100;

export type Channel = ReturnType<typeof openChannel>;

export interface KnownPeers {
  readonly self: Peer;
  readonly others: readonly Peer[];
  /** Of a guest: what its host sent. */
  readonly init: InitData | undefined;
  /** Of a host: messages of the server that it has not answered. */
  readonly unanswered: readonly Uint8Array[];
}

export function openChannel(options: {
  readonly baseUrl: string;
  readonly roomId: string;
  readonly roomToken: string;
  readonly keys: Keys;
  /** Of a guest. */
  readonly host: Peer | undefined;
  readonly hostId: () => string | undefined;
  readonly transports: TransportNames;
  readonly tap?: ((message: Uint8Array) => void) | undefined;
}) {
  const transport = createTransport({ ...options, publicKey: options.keys.publicKey });
  const connection = createConnection({
    privateKey: privateKeyHandle(options.keys),
    transport,
    ...(options.host && { host: options.host }),
  });
  checkSenders(connection, options.hostId);
  // What other clients send and this one does not know is no error.
  connection.onBroadcast(() => {});
  connection.onNotification(() => {});
  connection.onRequest((_origin, method) => {
    throw new Error(`this client does not support ${method}`);
  });
  return {
    connection,
    transport,
    /** Restores what the connection knew before the page was reloaded: the server does not announce it again. */
    restore({ self, others, init, unanswered }: KnownPeers): void {
      const joined = others.map((peer) =>
        Encoding.encode(BroadcastMessage.create(Messages.Room.Joined, peer.id, [peer])),
      );
      const sent =
        init === undefined
          ? []
          : [
              Encoding.encode(
                NotificationMessage.create(Messages.Peer.Init, init.host.id, self.id, [init]),
              ),
            ];
      transport.inject([...joined, ...sent, ...unanswered]);
    },
    /** Tells the others, who then do not wait for this peer. Resolves within a second, whether they could be told or not. */
    leave: (): Promise<void> =>
      withinTime(
        connection.room.leave().then(() => sleep(LEAVE_GRACE_MS)),
        LEAVE_MS,
      ),
    close: (): void => connection.dispose(),
  };
}
