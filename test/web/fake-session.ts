/** A session with sample data, also hostile, for the tests of panels. Runs in the page. */
import { type Signal, signal } from "@preact/signals";
import { Doc, UndoManager } from "yjs";
import { type Entry, FileError, type Files } from "../../worker/web/client/model/files.ts";
import type {
  ChatLine,
  Connection,
  JoinRequest,
  Notice,
  OpenFile,
  Person,
  SaveState,
  Session,
  Tab,
} from "../../worker/web/client/model/session.ts";

/** Names that must appear as they are. */
export const MARKUP_NAME = `<img src=x onerror="document.title='hit'">`;
export const MANY_FILES = 5_000;

export interface FakeTab extends Tab {
  readonly file: Signal<OpenFile>;
  readonly isGone: Signal<boolean>;
  readonly save: Signal<SaveState>;
}

export interface FakeSession extends Session {
  readonly connection: Signal<Connection>;
  readonly people: Signal<readonly Person[]>;
  readonly writing: Signal<readonly string[]>;
  readonly joinRequests: Signal<readonly JoinRequest[]>;
  readonly isReadOnly: Signal<boolean>;
  readonly isReadOnlyHinted: Signal<boolean>;
  readonly chat: Signal<readonly ChatLine[]>;
  readonly following: Signal<string | undefined>;
  readonly notices: Signal<readonly Notice[]>;
  /** Opens a tab in any state. */
  openAs(path: string, file: OpenFile): FakeTab;
}

export interface FakeSessionOptions {
  readonly isHost: boolean;
  readonly isAlone?: boolean;
  /** Receives the name of each function that the page calls, with its arguments. */
  readonly onCall: (call: string) => void;
}

export function createFakeSession({
  isHost,
  isAlone = false,
  onCall,
}: FakeSessionOptions): FakeSession {
  const people = isAlone ? [] : samplePeople(isHost);
  const session: FakeSession = {
    roomId: "Yb2kLmQ8pVxT4rZc9wNd",
    invitation: "https://edge.example.com/#Yb2kLmQ8pVxT4rZc9wNd",
    meetingUrl: isAlone ? undefined : "https://meet.example.com/ct-4f2a",
    isHost,
    workspace: signal({ name: "payment-service", folders: ["payment-service"] }),
    connection: signal<Connection>({ state: "live" }),
    self: signal(personOf("me", isHost ? "Ada Lovelace" : "Grace Hopper", 0, isHost)),
    people: signal<readonly Person[]>(people),
    writing: signal<readonly string[]>(isAlone ? [] : ["Linus"]),
    joinRequests: signal<readonly JoinRequest[]>([]),
    isReadOnly: signal(false),
    isReadOnlyHinted: signal(false),
    chat: signal<readonly ChatLine[]>(isAlone ? [] : sampleChat(people)),
    files: createFakeFiles(onCall),
    following: signal<string | undefined>(undefined),
    notices: signal<readonly Notice[]>([]),
    ...createFakeTabs(onCall),
    follow: (id) => {
      onCall(`follow ${id}`);
      session.following.value = id;
    },
    say: async (text) => {
      onCall(`say ${text}`);
      const line = { id: session.chat.value.length, from: undefined, text, atMs: Date.now() };
      session.chat.value = [...session.chat.value, { ...line, isDirect: false }];
    },
    noteWriting: () => {},
    dismiss: (notice) => {
      session.notices.value = session.notices.value.filter((one) => one !== notice);
    },
    setReadOnly: async (isReadOnly) => {
      session.isReadOnly.value = isReadOnly;
    },
    leave: async () => onCall("leave"),
    texts: () => [],
  };
  return session;
}

/** Someone who asks to join; `decide` removes the request, as the session does. */
export function addJoinRequest(
  session: FakeSession,
  request: Omit<JoinRequest, "decide">,
  onCall: (call: string) => void,
): void {
  const full: JoinRequest = {
    ...request,
    decide: (isAccepted) => {
      onCall(`${isAccepted ? "allow" : "refuse"} ${request.id}`);
      session.joinRequests.value = session.joinRequests.value.filter((one) => one !== full);
    },
  };
  session.joinRequests.value = [...session.joinRequests.value, full];
}

export function textFile(path: string, content: string, isReadOnly = false): OpenFile {
  const text = new Doc().getText(path);
  text.insert(0, content);
  const cursors = { remote: [], onChange: () => () => {}, setLocal() {} };
  return {
    state: "text",
    shared: { path, text, undo: new UndoManager(text), cursors },
    isReadOnly,
  };
}

function createFakeTabs(onCall: (call: string) => void): Pick<FakeSession, "tabs" | "openAs"> {
  const tabs = signal<readonly FakeTab[]>([]);
  const active = signal<FakeTab | undefined>(undefined);

  function openAs(path: string, file: OpenFile): FakeTab {
    const known = tabs.value.find((tab) => tab.path === path);
    const tab = known ?? {
      path,
      file: signal(file),
      isGone: signal(false),
      save: signal<SaveState>({ state: "saved" }),
    };
    if (!known) tabs.value = [...tabs.value, tab];
    active.value = tab;
    return tab;
  }

  return {
    openAs,
    tabs: {
      tabs,
      active,
      open: (path) => {
        onCall(`open ${path}`);
        openAs(path, textFile(path, `// ${path}\n`));
      },
      close: (path) => {
        onCall(`close ${path}`);
        tabs.value = tabs.value.filter((tab) => tab.path !== path);
        active.value = tabs.value.at(-1);
      },
      retry: (path) => onCall(`retry ${path}`),
      restore: async (path) => onCall(`restore ${path}`),
      content: async () => new Uint8Array([1, 2, 3]),
    },
  };
}

const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  "payment-service": [
    "docs/",
    "generated/",
    "locked/",
    "src/",
    MARKUP_NAME,
    "package.json",
    "README.md",
  ],
  "payment-service/docs": ["architecture.md", "decisions.md"],
  "payment-service/src": [
    "api/",
    "currency.ts",
    "invoice.ts",
    "account-export-for-the-yearly-report.ts",
    "main.ts",
  ],
  "payment-service/src/api": ["main.ts", "routes.ts"],
};

function createFakeFiles(onCall: (call: string) => void): Files {
  const listeners = new Set<Parameters<Files["watch"]>[0]>();
  const folders = new Map(
    Object.entries(FOLDERS).map(([path, names]) => [path, names.map(entryOf)]),
  );
  const generated = Array.from({ length: MANY_FILES }, (_, index) =>
    entryOf(`part-${String(index).padStart(4, "0")}.ts`),
  );
  folders.set("payment-service/generated", generated);
  const done = async (call: string): Promise<void> => onCall(call);
  return {
    list: async (folder) => {
      const entries = folders.get(folder);
      if (!entries) throw new FileError("denied", "The host does not share this folder.");
      return entries;
    },
    info: async () => ({ kind: "file", bytes: 1_000, modifiedMs: 0 }),
    read: async () => new Uint8Array(),
    write: (path) => done(`write ${path}`),
    makeFolder: (path) => done(`makeFolder ${path}`),
    remove: (path) => done(`remove ${path}`),
    rename: (from, to) => done(`rename ${from} ${to}`),
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function entryOf(name: string): Entry {
  return name.endsWith("/") ? { name: name.slice(0, -1), kind: "folder" } : { name, kind: "file" };
}

function personOf(id: string, name: string, color: number, isHost: boolean, path?: string): Person {
  return { id, name, color, isHost, path, email: undefined };
}

function samplePeople(isHost: boolean): Person[] {
  const src = "payment-service/src";
  return [
    personOf("p1", isHost ? "Grace Hopper" : "Ada Lovelace", 1, !isHost, `${src}/invoice.ts`),
    personOf("p2", MARKUP_NAME, 2, false),
    personOf("p3", "Barbara Liskov", 3, false, `${src}/currency.ts`),
    personOf("p4", "Linus", 4, false, `${src}/invoice.ts`),
    personOf("p5", "A person with a name that is far too long for any list", 5, false),
    personOf("p6", "宮本 茂", 6, false, "payment-service/README.md"),
    personOf("p7", "Margaret Hamilton", 7, false),
  ];
}

function sampleChat([first, second, third]: readonly Person[]): ChatLine[] {
  const atMs = Date.UTC(2026, 5, 1, 9, 30);
  const lines: readonly [Person | undefined, string, boolean?][] = [
    [first, "Morning! I pushed the rounding fix, can you look at invoice.ts?"],
    [first, "Ticket: https://tracker.example.com/browse/PAY-1042."],
    [undefined, "Sure, one minute."],
    [second, `<b>bold</b> <script>document.title = "hit"</script> javascript:alert(1)`],
    [third, "Only for you: the old test is wrong too.", true],
    [undefined, "x".repeat(300)],
  ];
  return lines.map(([from, text, isDirect = false], id) => ({
    id,
    from,
    text,
    isDirect,
    atMs: atMs + id * 60_000,
  }));
}
