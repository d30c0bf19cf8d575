/** What happens to a host's files and to shared texts when both change, with real Yjs documents and files in memory. */
import { expect, onTestFinished, test } from "vitest";
import {
  createHostOpener,
  type HostOpener,
} from "../../../worker/web/client/documents/host-opener.ts";
import {
  createSharedDocuments,
  type SharedDocuments,
} from "../../../worker/web/client/documents/shared-documents.ts";
import { until } from "../../support/until.ts";
import { createMemoryFiles, type MemoryFiles } from "../support/memory-files.ts";

const PATH = "work/a.txt";

test("what another program wrote while the page was away is not overwritten by the text of before", async () => {
  const disk = createMemoryFiles({ [PATH]: "old" });
  const before = host(disk);
  await before.opener.share(PATH);
  before.type(" text");
  await before.opener.flush();
  expect(disk.content.get(PATH)).toBe("old text");

  disk.content.set(PATH, "written by another program");
  const after = host(disk, before);
  await after.opener.share(PATH);
  await after.opener.flush();
  expect(disk.content.get(PATH)).toBe("written by another program");
  expect(after.text()).toBe("written by another program");
});

test("what was typed shortly before a reload is saved after it", async () => {
  const disk = createMemoryFiles({ [PATH]: "old" });
  const before = host(disk);
  await before.opener.share(PATH);
  before.type(" text");

  const after = host(disk, before);
  await after.opener.share(PATH);
  await until("the text is saved", () => disk.content.get(PATH) === "old text");
});

test("what a guest types before the host has shared a file does not replace the file", async () => {
  const disk = createMemoryFiles({ [PATH]: "the host's file\n" });
  const { opener, type, text } = host(disk);
  type("x");
  await opener.share(PATH);
  await opener.flush();
  expect(text()).toBe("the host's file\nx");
  expect(disk.content.get(PATH)).toBe("the host's file\nx");
});

test("a file that is read slowly does not undo what is typed and saved meanwhile", async () => {
  const disk = createMemoryFiles({ [PATH]: "old" });
  const { opener, type, text, files } = host(disk);
  await opener.share(PATH);
  await opener.flush();
  const { read } = files;
  const reading = new Promise<() => void>((begun) => {
    files.read = async (path) => {
      const content = await read(path);
      await new Promise<void>((resolve) => begun(resolve));
      return content;
    };
  });
  disk.content.set(PATH, "old, changed by another program");
  const changed = opener.onChanged(PATH);
  const finish = await reading;
  type(" text");
  await opener.flush();
  files.read = read;
  finish();
  await changed;
  await opener.flush();
  expect(text()).toBe("old text");
  expect(disk.content.get(PATH)).toBe("old text");
});

test("a text whose folder was deleted is not saved, and counts as deleted", async () => {
  const disk = createMemoryFiles({ [PATH]: "old" });
  const { opener, type } = host(disk);
  await opener.share(PATH);
  await opener.flush();
  await disk.remove("work");
  opener.onDeleted("work");
  type(" text");
  await opener.flush();
  expect(opener.saveStateOf(PATH).peek()).toEqual({ state: "saved" });
  expect(opener.isSaved).toBe(true);
  expect(disk.content.has(PATH)).toBe(false);
});

interface Host {
  readonly opener: HostOpener;
  readonly documents: SharedDocuments;
  readonly saved: Map<string, string>;
  readonly files: { -readonly [Name in keyof MemoryFiles]: MemoryFiles[Name] };
  /** At the end. */
  readonly type: (text: string) => void;
  readonly text: () => string;
}

/** `before`: the same host before a reload. */
function host(disk: MemoryFiles, before?: Host): Host {
  const documents = createSharedDocuments({
    personOf: () => undefined,
    isPrivate: () => false,
    mayChange: () => true,
    kept: before === undefined ? [] : [before.documents.encode()],
    keep() {},
  });
  const saved = new Map(before?.saved);
  before?.opener.close();
  const files = { ...disk };
  const opener = createHostOpener({ documents, files, saved, onSaved() {} });
  onTestFinished(() => {
    opener.close();
    documents.destroy();
  });
  const shared = () => documents.text(PATH).text;
  return {
    opener,
    documents,
    saved,
    files,
    type: (text) => shared().insert(shared().length, text),
    text: () => shared().toJSON(),
  };
}
