/** A host's files and a guest's view of them, over the unmodified protocol package. */
import { randomBytes } from "node:crypto";
import { expect, onTestFinished, test, vi } from "vitest";
import { createRemoteFiles } from "../../../worker/web/client/files/remote-files.ts";
import { serveFiles } from "../../../worker/web/client/files/serve-files.ts";
import type { FileChange, Files } from "../../../worker/web/client/model/files.ts";
import { until } from "../../support/until.ts";
import { createMemoryFiles } from "../support/memory-files.ts";
import { connectPair, HOST_ID, type ProtocolPair } from "../support/protocol-pair.ts";

const TEXTS = {
  "work/readme.md": "hello",
  "work/src/a.ts": "let a;",
  "work/.env": "SECRET=1",
  "work/.git/config": "url = https://user:password@example.org",
};

test("a guest lists, stats and reads the host's files", async () => {
  const { guest } = await share(TEXTS);
  expect(await guest.list("work")).toEqual([
    { name: "src", kind: "folder" },
    { name: "readme.md", kind: "file" },
  ]);
  expect(await guest.info("work/src")).toMatchObject({ kind: "folder" });
  expect(await guest.info("work/readme.md")).toEqual({
    kind: "file",
    bytes: 5,
    modifiedMs: 1_700_000_000_000,
  });
  expect(textOf(await guest.read("work/src/a.ts"))).toBe("let a;");
});

test("a guest writes, makes folders, renames and removes", async () => {
  const { guest, disk } = await share(TEXTS);
  await guest.write("work/src/b.ts", bytesOf("let b;"));
  await guest.makeFolder("work/lib");
  await guest.rename("work/src/a.ts", "work/lib/a.ts");
  await guest.remove("work/readme.md");
  expect([...disk.content.keys()].sort()).toEqual([
    "work",
    "work/.env",
    "work/.git",
    "work/.git/config",
    "work/lib",
    "work/lib/a.ts",
    "work/src",
    "work/src/b.ts",
  ]);
  expect(disk.content.get("work/src/b.ts")).toBe("let b;");
});

test("a file of 2 MB arrives whole", async () => {
  const { guest, disk } = await share(TEXTS);
  const text = randomBytes(1_000_000).toString("hex");
  disk.content.set("work/large", text);
  expect(textOf(await guest.read("work/large"))).toBe(text);
});

test("a folder of 5,000 entries lists in order", async () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `f${index}`);
  const { guest } = await share(
    Object.fromEntries(names.toReversed().map((name) => [`work/${name}`, ""])),
  );
  expect((await guest.list("work")).map(({ name }) => name)).toEqual(names);
});

test("files that are kept from guests seem not to exist", async () => {
  const { guest, disk } = await share(TEXTS);
  for (const path of ["work/.env", "work/.git/config", "work/.ENV"]) {
    await expectRefused(guest.read(path), "missing");
    await expectRefused(guest.info(path), "missing");
    await expectRefused(guest.write(path, bytesOf("x")), "missing");
    await expectRefused(guest.remove(path), "missing");
    await expectRefused(guest.rename(path, "work/visible"), "missing");
    await expectRefused(guest.rename("work/readme.md", path), "missing");
  }
  await expectRefused(guest.list("work/.git"), "missing");
  expect(disk.content.get("work/.env")).toBe("SECRET=1");
});

test("a folder that holds files that are kept from guests is neither removed nor renamed by a guest", async () => {
  const { guest, disk } = await share({ ...TEXTS, "work/app/sub/.env.local": "SECRET=2" });
  await expectRefused(guest.remove("work/app"), "denied");
  await expectRefused(guest.rename("work/app", "work/app2"), "denied");
  expect(disk.content.has("work/app/sub/.env.local")).toBe(true);
});

test("guests of a read-only session read, and change nothing", async () => {
  const { guest, disk } = await share(TEXTS, { isReadOnly: () => true });
  const before = new Map(disk.content);
  expect(textOf(await guest.read("work/readme.md"))).toBe("hello");
  await expectRefused(guest.write("work/readme.md", bytesOf("x")), "read-only");
  await expectRefused(guest.makeFolder("work/x"), "read-only");
  await expectRefused(guest.remove("work/readme.md"), "read-only");
  await expectRefused(guest.rename("work/readme.md", "work/x"), "read-only");
  expect(disk.content).toEqual(before);
});

test.each(["", "/etc/passwd", "work/../../etc", "work//readme.md", "work/readme.md\0", "work\\x"])(
  "a hostile guest gets nothing for the path %j",
  async (path) => {
    const { fs, disk } = await share(TEXTS);
    const before = new Map(disk.content);
    const refusal = expect.objectContaining({ message: expect.stringContaining("EEXIST") });
    await expect(fs.readFile(HOST_ID, path)).rejects.toEqual(refusal);
    await expect(fs.readdir(HOST_ID, path)).rejects.toEqual(refusal);
    await expect(fs.stat(HOST_ID, path)).rejects.toEqual(refusal);
    await expect(fs.delete(HOST_ID, path)).rejects.toEqual(refusal);
    await expect(fs.mkdir(HOST_ID, path)).rejects.toEqual(refusal);
    await expect(fs.rename(HOST_ID, "work/readme.md", path)).rejects.toEqual(refusal);
    await expect(fs.writeFile(HOST_ID, path, { content: bytesOf("x") })).rejects.toEqual(refusal);
    expect(disk.content).toEqual(before);
  },
);

test("requests of wrong types are refused", async () => {
  const { fs, disk } = await share(TEXTS);
  await expect(fs.readFile(HOST_ID, 7 as never)).rejects.toThrow("EEXIST");
  await expect(fs.stat(HOST_ID, { toString: "x" } as never)).rejects.toThrow("EEXIST");
  await expect(fs.writeFile(HOST_ID, "work/readme.md", "text" as never)).rejects.toThrow("EIO");
  await expect(
    fs.writeFile(HOST_ID, "work/readme.md", { content: "text" } as never),
  ).rejects.toThrow("EIO");
  expect(disk.content.get("work/readme.md")).toBe("hello");
});

test("an error names a missing file as VS Code's guests expect it, and nothing of the host's machine", async () => {
  const { fs, disk } = await share(TEXTS);
  await expect(fs.stat(HOST_ID, "work/none")).rejects.toThrow("ENOENT: file not found: work/none");
  disk.read = async () => Promise.reject(new Error("/home/ada/secret"));
  await expect(fs.readFile(HOST_ID, "work/readme.md")).rejects.not.toThrow("ada");
});

test("a file that does not fit into a message is refused before it is read", async () => {
  const { guest, disk } = await share(TEXTS);
  const read = vi.spyOn(disk, "read");
  disk.info = async () => ({ kind: "file", bytes: 20_000_000, modifiedMs: 0 });
  await expectRefused(guest.read("work/readme.md"), "too-large");
  expect(read).not.toHaveBeenCalled();
  await expectRefused(guest.write("work/large", new Uint8Array(16_000_000)), "too-large");
});

test("a write to an open document goes to its shared text", async () => {
  const written: [string, string][] = [];
  const { guest, disk } = await share(TEXTS, {
    async onWritten(path, content) {
      written.push([path, textOf(content)]);
      return path === "work/readme.md";
    },
  });
  await guest.write("work/readme.md", bytesOf("shared"));
  await guest.write("work/src/a.ts", bytesOf("saved"));
  expect(written).toEqual([
    ["work/readme.md", "shared"],
    ["work/src/a.ts", "saved"],
  ]);
  expect(disk.content.get("work/readme.md")).toBe("hello");
  expect(disk.content.get("work/src/a.ts")).toBe("saved");
});

test("guests are told what the host, its other programs and other guests change", async () => {
  const { guest, server, disk } = await share(TEXTS);
  const seen = collect(guest);
  const seenByHost = collect(server.files);
  await server.files.write("work/readme.md", bytesOf("by the host"));
  disk.change("work/src/a.ts", "by a compiler");
  disk.change("work/.env", "SECRET=3");
  await guest.makeFolder("work/by/guest");
  await guest.rename("work/src/a.ts", "work/by/a.ts");
  await until("the guest is told", () => seen.length >= 6);
  expect(seen).toEqual([
    ["work/readme.md", "changed"],
    ["work/src/a.ts", "changed"],
    ["work/by", "created"],
    ["work/by/guest", "created"],
    ["work/src/a.ts", "deleted"],
    ["work/by/a.ts", "created"],
  ]);
  expect(seenByHost).toEqual([
    ["work/src/a.ts", "changed"],
    ["work/.env", "changed"],
    ["work/by", "created"],
    ["work/by/guest", "created"],
    ["work/src/a.ts", "deleted"],
    ["work/by/a.ts", "created"],
  ]);
});

test("many changes are told in few messages", async () => {
  const { guest, disk, host } = await share(TEXTS);
  const change = vi.spyOn(host.fs, "change");
  const seen = collect(guest);
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 600; index++) disk.change(`work/f${index}`, "x");
  }
  await until("the guest is told", () => seen.length >= 600);
  expect(seen).toHaveLength(600);
  expect(change.mock.calls.length).toBe(2);
});

test("after its session a host answers no requests", async () => {
  const { guest, server } = await share(TEXTS);
  server.close();
  await expectRefused(guest.read("work/readme.md"), "unreachable");
});

test("the host knows which folders its guests look at", async () => {
  const { guest, server } = await share(TEXTS);
  await guest.list("work/src");
  await guest.list("work");
  expect(server.listedFolders()).toEqual(["work/src", "work"]);
});

// --- hostile hosts ---

test("names that could leave a folder or fake another name are not listed", async () => {
  const { host, guest } = await bareHost();
  host.fs.onReaddir(() =>
    JSON.parse(
      `{"ok": 1, "../up": 1, "a/b": 2, "..": 2, "": 1, "nul\\u0000": 1, "line\\nbreak": 1, "txt\\u202egpj.exe": 1,
        "link": 64, "linked folder": 66, "odd": "file", "huge": 1e300, "<img src=x>": 1}`,
    ),
  );
  expect(await guest.list("work")).toEqual([
    { name: "linked folder", kind: "folder" },
    { name: "<img src=x>", kind: "file" },
    { name: "huge", kind: "unknown" },
    { name: "link", kind: "link" },
    { name: "odd", kind: "unknown" },
    { name: "ok", kind: "file" },
  ]);
});

test("responses of wrong types are failures in plain words", async () => {
  const { host, guest } = await bareHost();
  for (const response of [undefined, null, 7, "text", [1], { content: "text" }, { content: [1] }]) {
    host.fs.onReadFile(() => response as never);
    await expectRefused(guest.read("work/a"), "failed");
  }
  for (const response of [undefined, null, 7, "text", [1]]) {
    host.fs.onReaddir(() => response as never);
    await expectRefused(guest.list("work"), "failed");
    host.fs.onStat(() => response as never);
    await expectRefused(guest.info("work"), "failed");
  }
});

test("what a host says about sizes and times is only shown", async () => {
  const { host, guest } = await bareHost();
  host.fs.onStat(() => ({ type: 1, size: -5, mtime: Number.NaN, ctime: 0 }));
  host.fs.onReadFile(() => ({ content: bytesOf("more than it said") }));
  expect(await guest.info("work/a")).toEqual({ kind: "file", bytes: 0, modifiedMs: 0 });
  expect(textOf(await guest.read("work/a"))).toBe("more than it said");
});

test.each([
  ["EntryNotFound (FileSystemError): oct:/work/a", "missing"],
  ["Error: ENOENT: no such file or directory", "missing"],
  ["NoPermissions (FileSystemError)", "denied"],
  ["EntryExists (FileSystemError)", "name"],
  ["Failed to retrieve the requested data.", "unreachable"],
  ["<script>alert(1)</script>", "failed"],
] as const)("the host's error %j is shown in words of this client", async (message, reason) => {
  const { host, guest } = await bareHost();
  host.fs.onReadFile(() => Promise.reject(new Error(message)));
  const error = await expectRefused(guest.read("work/a"), reason);
  expect(error.message).not.toContain(message);
});

test("a request ends when the connection is given up", async () => {
  const { host, guest, connection } = await bareHost();
  const asked = new Promise<void>((resolve) => {
    host.fs.onReadFile(() => {
      resolve();
      return new Promise(() => undefined);
    });
  });
  const reading = expectRefused(guest.read("work/a"), "unreachable");
  await asked;
  connection.dispose();
  await reading;
  await expectRefused(guest.read("work/a"), "unreachable");
});

test("changes that the host tells wrongly are ignored", async () => {
  const { host, guest } = await bareHost();
  const seen = collect(guest);
  const tell = (event: unknown): Promise<void> => host.fs.change(event as never);
  for (const event of [null, 7, {}, { changes: "x" }, { changes: [null, 7, {}] }])
    await tell(event);
  await tell({
    changes: [
      { path: "work/../x", type: 0 },
      { path: "work/a", type: 9 },
      { path: "work/a", type: "1" },
      { path: 7, type: 1 },
      { path: "work/ok", type: 2 },
    ],
  });
  await until("the last change arrives", () => seen.length > 0);
  expect(seen).toEqual([["work/ok", "deleted"]]);
});

// --- set-up ---

async function share(
  texts: Readonly<Record<string, string>>,
  options: Partial<Pick<Parameters<typeof serveFiles>[0], "isReadOnly" | "onWritten">> = {},
) {
  const pair = await openPair();
  const disk = createMemoryFiles(texts);
  const server = serveFiles({
    connection: pair.host,
    files: disk,
    isReadOnly: () => false,
    onWritten: async () => false,
    ...options,
  });
  onTestFinished(() => server.close());
  const guest = createRemoteFiles(pair.guest, HOST_ID);
  return { guest, fs: pair.guest.fs, host: pair.host, server, disk };
}

/** A host whose responses the test writes. */
async function bareHost() {
  const pair = await openPair();
  const guest = createRemoteFiles(pair.guest, HOST_ID);
  return { host: pair.host, guest, connection: pair.guest };
}

async function openPair(): Promise<ProtocolPair> {
  const pair = await connectPair();
  onTestFinished(() => {
    pair.host.dispose();
    pair.guest.dispose();
  });
  return pair;
}

function collect(files: Files): [string, FileChange][] {
  const seen: [string, FileChange][] = [];
  files.watch((path, change) => seen.push([path, change]));
  return seen;
}

async function expectRefused(operation: Promise<unknown>, reason: string): Promise<Error> {
  const error = await operation.then(
    () => new Error("not refused"),
    (failure: unknown) => failure,
  );
  expect(error).toMatchObject({ name: "FileError", reason });
  return error as Error;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
