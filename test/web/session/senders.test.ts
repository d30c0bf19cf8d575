/** Who may send what, over the unmodified protocol package. */
import { Messages, type Peer, type ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { expect, test } from "vitest";
import { checkSenders } from "../../../worker/web/client/session/senders.ts";
import { until } from "../../support/until.ts";
import { connectPair, GUEST_ID, HOST_ID } from "../support/protocol-pair.ts";

const METADATA = { encryption: { publicKey: "x" }, compression: { supported: [] } };
const OTHER: Peer = { id: "other", name: "Cleo", host: false, metadata: METADATA };

test("a guest cannot close the session, nor speak for the server or for other people", async () => {
  const { host, guest } = await connectPair();
  checkSenders(host, () => HOST_ID);
  const heard = listen(host);
  guest.sendBroadcast(Messages.Room.Closed);
  guest.sendBroadcast(Messages.Room.Left, OTHER);
  guest.sendBroadcast(Messages.Room.Joined, OTHER);
  guest.sendBroadcast(Messages.Room.PermissionsUpdated, { readonly: true });
  guest.sendNotification(Messages.Peer.Info.method, HOST_ID, OTHER);
  guest.sendNotification(Messages.Peer.Init.method, HOST_ID, initOf(OTHER));
  await guest.chat.sendMessage("last");
  await until("the host has all of it", () => heard.includes("chat"));
  expect(heard).toEqual(["chat"]);
});

test("the host changes permissions, and tells about itself", async () => {
  const { host, guest } = await connectPair();
  checkSenders(guest, () => HOST_ID);
  const heard = listen(guest);
  await host.room.updatePermissions({ readonly: true });
  await host.chat.sendMessage("last");
  await until("the guest has all of it", () => heard.includes("chat"));
  expect(heard).toEqual(["permissions", "chat"]);
});

function listen({ room, peer, chat }: ProtocolBroadcastConnection): readonly string[] {
  const heard: string[] = [];
  room.onClose(() => void heard.push("closed"));
  room.onLeave(() => void heard.push("left"));
  room.onJoin(() => void heard.push("joined"));
  room.onPermissions(() => void heard.push("permissions"));
  peer.onInfo(() => void heard.push("info"));
  peer.onInit(() => void heard.push("init"));
  chat.onMessage(() => void heard.push("chat"));
  return heard;
}

function initOf(host: Peer) {
  return {
    protocol: "0.3.1",
    host,
    guests: [{ ...host, id: GUEST_ID }],
    permissions: { readonly: false },
    capabilities: {},
    workspace: { name: "work", folders: ["work"] },
  };
}
