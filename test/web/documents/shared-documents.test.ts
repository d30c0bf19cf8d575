/** The texts of a session between two pages, over connections that carry only document messages. */
import fc from "fast-check";
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { expect, onTestFinished, test } from "vitest";
import {
  createSharedDocuments,
  type SharedDocuments,
} from "../../../worker/web/client/documents/shared-documents.ts";

type Handler = (origin: string, data: Uint8Array) => void;

/** Connects documents to each other: what one sends, the others receive at once. */
function connect(...peers: readonly SharedDocuments[]): void {
  const data = new Map<SharedDocuments, Handler[]>();
  for (const [index, documents] of peers.entries()) {
    const others = peers.filter((other) => other !== documents);
    const own = `peer ${index}`;
    data.set(documents, []);
    const send = async (first: string | Uint8Array, second?: Uint8Array): Promise<void> => {
      const update = typeof first === "string" ? second : first;
      if (update === undefined) return;
      const receivers = typeof first === "string" ? [peers[Number(first.slice(5))]] : others;
      for (const receiver of receivers) {
        if (receiver !== undefined)
          for (const receive of data.get(receiver) ?? []) receive(own, update);
      }
    };
    const sync = {
      dataUpdate: send,
      awarenessUpdate: async () => {},
      awarenessQuery: async () => {},
      onDataUpdate: (handler: Handler) => void data.get(documents)?.push(handler),
      onAwarenessUpdate() {},
      onAwarenessQuery() {},
    };
    documents.attach({ sync } as unknown as ProtocolBroadcastConnection);
  }
}

function documentsOf(
  rules: Partial<Parameters<typeof createSharedDocuments>[0]> = {},
): SharedDocuments {
  const documents = createSharedDocuments({
    personOf: () => undefined,
    isPrivate: () => false,
    mayChange: () => true,
    kept: [],
    keep() {},
    ...rules,
  });
  onTestFinished(() => documents.destroy());
  return documents;
}

const textIn = (documents: SharedDocuments, path: string): string =>
  documents.text(path).text.toJSON();

test("a private text never leaves the page", () => {
  const kept: Uint8Array[] = [];
  const host = documentsOf({
    isPrivate: (path) => path.endsWith(".env"),
    keep: (update) => kept.push(update),
  });
  const guest = documentsOf();
  connect(host, guest);
  host.replace("work/.env", "SECRET=1");
  host.replace("work/a.ts", "open");
  host.resync();
  expect([textIn(guest, "work/.env"), textIn(guest, "work/a.ts")]).toEqual(["", "open"]);
  expect(textIn(host, "work/.env")).toBe("SECRET=1");
  expect(documentsOf({ kept }).has("work/.env")).toBe(false);
});

test("a peer that may not change the texts reads them, and its changes are dropped", () => {
  let isReadOnly = true;
  const host = documentsOf({ mayChange: () => !isReadOnly });
  const guest = documentsOf();
  host.replace("a", "text");
  connect(host, guest);
  guest.resync();
  expect(textIn(guest, "a")).toBe("text");
  guest.replace("a", "changed");
  guest.resync();
  expect(textIn(host, "a")).toBe("text");
  isReadOnly = false;
  guest.resync();
  expect(textIn(host, "a")).toBe("changed");
});

test("updates that were kept restore the texts, in any order and with repetitions", () => {
  const kept: Uint8Array[] = [];
  const first = documentsOf({ keep: (update) => kept.push(update) });
  first.replace("a", "one");
  first.replace("a", "one two");
  first.replace("b", "three");
  const again = documentsOf({ kept: [...kept.toReversed(), ...kept] });
  expect(again.all()).toEqual(first.all());
  expect(documentsOf({ kept: [first.encode()] }).all()).toEqual(first.all());
});

test("texts that were changed on both sides of an interruption are merged when they meet again", () => {
  const host = documentsOf();
  const guest = documentsOf();
  connect(host, guest);
  host.replace("a", "start\n");
  guest.attach(undefined);
  guest.replace("a", "start\nfrom the guest\n");
  host.replace("a", "from the host\nstart\n");
  connect(host, guest);
  guest.resync();
  host.resync();
  expect(textIn(guest, "a")).toBe("from the host\nstart\nfrom the guest\n");
  expect(textIn(host, "a")).toBe(textIn(guest, "a"));
});

test("a replaced text is what was asked for, whatever it was before", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "\n", "ä", "👍", "👎"), maxLength: 30 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const documents = documentsOf();
      documents.replace("a", before);
      documents.replace("a", after);
      expect(textIn(documents, "a")).toBe(after);
    }),
  );
});

test("a guest that has asked nobody gets all texts when the host sends them", () => {
  const host = documentsOf();
  const guest = documentsOf();
  host.replace("a", "one");
  host.replace("b", "two");
  connect(host, guest);
  host.sendAll("peer 1");
  expect(guest.all()).toEqual([
    { path: "a", text: "one" },
    { path: "b", text: "two" },
  ]);
});
