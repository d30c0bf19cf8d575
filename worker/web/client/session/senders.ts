/**
 * Who may send what. The server writes the sender into each message, but it cannot read what peers encrypt, and the protocol
 * package handles a method from any peer that names it: a guest could close the session for everybody, or say that somebody
 * has left, so that nothing is encrypted for that person any more.
 */
import { Messages, type ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { fieldsOf } from "../../../../shared/base/json.ts";

type Handler = (origin: string, ...params: unknown[]) => unknown;
type Register = (type: string | { readonly method: string } | Handler, handler?: Handler) => void;
type Rule = (origin: string, hostId: string | undefined, params: readonly unknown[]) => boolean;

/** The server sends with an empty id. */
const ofServer: Rule = (origin) => origin === "";
const ofHost: Rule = (origin, hostId) => origin === hostId;
/** The server sends it in the name of the peer that it is about. */
const ofThatPeer: Rule = (origin, _hostId, [peer]) => fieldsOf(peer)["id"] === origin;

const RULES: ReadonlyMap<string, Rule> = new Map([
  [Messages.Peer.Join.method, ofServer],
  [Messages.Peer.Info.method, ofServer],
  [Messages.Peer.Init.method, ofHost],
  [Messages.Room.Joined.method, ofThatPeer],
  [Messages.Room.Left.method, ofThatPeer],
  [Messages.Room.Closed.method, (origin, hostId) => origin === "" || origin === hostId],
  [Messages.Room.PermissionsUpdated.method, ofHost],
]);

/** Drops what its sender may not send. Must be called before handlers are registered. */
export function checkSenders(
  connection: ProtocolBroadcastConnection,
  hostId: () => string | undefined,
): void {
  const registers = connection as unknown as Record<
    "onBroadcast" | "onNotification" | "onRequest",
    Register
  >;
  for (const name of ["onBroadcast", "onNotification", "onRequest"] as const) {
    const register = registers[name].bind(connection);
    registers[name] = (type, handler) => {
      const method = typeof type === "object" ? type.method : type;
      const rule = typeof method === "string" ? RULES.get(method) : undefined;
      if (rule === undefined || handler === undefined) return register(type, handler);
      register(type, (origin, ...params) =>
        rule(origin, hostId(), params) ? handler(origin, ...params) : undefined,
      );
    };
  }
  // The package's own handlers, which are there already.
  const { room, peer } = connection;
  room.onJoin(() => {});
  room.onLeave(() => {});
  room.onClose(() => {});
  peer.onInit(() => {});
}
