/** Shared texts into which peers put what is no text. */
import { expect, test } from "vitest";
import * as Y from "yjs";
import { keepPlain } from "../../../worker/web/client/documents/plain-text.ts";

const PATH = "work/a.txt";

test.each([
  ["an object", (peer: Y.Doc) => peer.getText(PATH).insertEmbed(2, { is: "no text" })],
  ["another type", (peer: Y.Doc) => peer.getText(PATH).insertEmbed(2, new Y.Map())],
  ["an array's values", (peer: Y.Doc) => asArray(peer).insert(5, [1, { a: 1 }, "x"])],
  ["a map's values", (peer: Y.Doc) => peer.getMap("work/b.txt").set("key", 1)],
])(
  "a text stays plain, and what is observed stays equal to it, when a peer adds %s",
  (_what, add) => {
    const own = new Y.Doc();
    const text = own.getText(PATH);
    keepPlain(text);
    let observed = "";
    text.observe(({ delta }) => {
      observed = applied(observed, delta);
    });
    text.insert(0, "hello");
    const peer = new Y.Doc();
    Y.applyUpdate(peer, Y.encodeStateAsUpdate(own));
    add(peer);
    Y.applyUpdate(own, Y.encodeStateAsUpdate(peer));
    expect(text.toJSON()).toBe("hello");
    expect(observed).toBe("hello");
    expect(text.length).toBe(5);
    text.insert(5, " again");
    expect(observed).toBe("hello again");
  },
);

/** The same type, as a peer may use it that reads it for the first time. */
function asArray(peer: Y.Doc): Y.Array<unknown> {
  return peer.getArray(PATH);
}

/** What an editor has after these changes. */
function applied(before: string, delta: Y.YTextEvent["delta"]): string {
  let at = 0;
  let after = before;
  for (const { insert, retain, delete: removed } of delta) {
    if (insert !== undefined) {
      if (typeof insert !== "string") throw new Error("no text");
      after = after.slice(0, at) + insert + after.slice(at);
      at += insert.length;
    }
    if (removed !== undefined) after = after.slice(0, at) + after.slice(at + removed);
    at += retain ?? 0;
  }
  return after;
}
