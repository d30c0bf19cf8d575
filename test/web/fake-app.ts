/** An app that shows any screen with sample data, and notes what the page calls. Runs in the page. */
import { signal } from "@preact/signals";
import type {
  App,
  EndedScreen,
  FailureReason,
  RememberedSession,
  Screen,
  SignInScreen,
  SignInWay,
  WaitingStep,
} from "../../worker/web/client/model/app.ts";
import { readInvitation } from "../../worker/web/client/model/place.ts";
import type { EndReason, OpenFile } from "../../worker/web/client/model/session.ts";
import {
  addJoinRequest,
  createFakeSession,
  type FakeSession,
  MARKUP_NAME,
  textFile,
} from "./fake-session.ts";

const SERVER_URL = "https://edge.example.com";
const FILE = "payment-service/src/invoice.ts";
const CODE = `/** Sums up the lines of an invoice. */
export function total(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.price * line.count, 0);
}
`;

export interface FakeApp {
  readonly app: App;
  /** What the page called, as `name argument`. */
  readonly calls: string[];
  /** Of the last scene with a workspace. */
  session: FakeSession | undefined;
  show(scene: string): void;
}

export function createFakeApp(): FakeApp {
  const calls: string[] = [];
  const call = (text: string): void => void calls.push(text);
  const screen = signal<Screen>({ at: "starting" });
  const remembered = signal<readonly RememberedSession[]>([]);
  const isForgetful = signal(false);
  const app: App = {
    place: { baseUrl: SERVER_URL, roomId: undefined },
    edge: { serverUrl: SERVER_URL, owner: "Example Corp", offersPlugins: true },
    screen,
    remembered,
    isForgetful,
    canOpenFolder: true,
    readInvitation: (text) => readInvitation(text, SERVER_URL),
    showHome: () => call("showHome"),
    showJoin: (roomId) => call(`showJoin ${roomId}`),
    startSession: (workspace) => call(`startSession ${workspace}`),
    enterAgain: ({ roomId }) => call(`enterAgain ${roomId}`),
    forget: ({ roomId }) => call(`forget ${roomId}`),
  };
  const fake: FakeApp = {
    app,
    calls,
    session: undefined,
    show: (scene) => {
      const [name = "", detail = ""] = scene.split(":");
      remembered.value = name === "home" && detail === "again" ? sampleRemembered() : [];
      isForgetful.value = detail === "forgetful";
      screen.value = screenOf(name, detail, call);
      fake.session =
        screen.value.at === "workspace" ? (screen.value.session as FakeSession) : undefined;
    },
  };
  return fake;
}

type Call = (text: string) => void;

function screenOf(name: string, detail: string, call: Call): Screen {
  switch (name) {
    case "home":
      return { at: "home" };
    case "unsupported":
      return { at: "unsupported", problem: detail === "browser" ? "browser" : "insecure" };
    case "sign-in":
      return signIn(detail, call);
    case "waiting":
      return {
        at: "waiting",
        purpose: "join",
        step: signal(detail as WaitingStep),
        cancel: () => call("cancel"),
      };
    case "workspace":
      return { at: "workspace", session: sessionFor(detail, call) };
    case "ended":
      return ended(detail as EndReason, call);
    case "failed":
      return {
        at: "failed",
        reason: detail as FailureReason,
        message: detail === "failed" ? `Something <b>unexpected</b> in ${MARKUP_NAME}` : undefined,
        purpose: "join",
        retry: detail === "not-found" ? undefined : () => call("retry"),
      };
    case "other-tab":
      return {
        at: "other-tab",
        roomId: "Yb2kLmQ8pVxT4rZc9wNd",
        takeOver: () => call("takeOver"),
        joinAgain: () => call("joinAgain"),
      };
    case "folder-permission":
      return {
        at: "folder-permission",
        workspaceName: MARKUP_NAME,
        allow: () => call("allow"),
        cancel: () => call("cancel"),
      };
    default:
      return { at: "starting" };
  }
}

function sampleRemembered(): RememberedSession[] {
  const now = Date.now();
  return [
    {
      roomId: "Yb2kLmQ8pVxT4rZc9wNd",
      workspaceName: "payment-service",
      isHost: true,
      lastUsedMs: now,
    },
    {
      roomId: "Kc3mNrT9qWyU5sAd0xOe",
      workspaceName: MARKUP_NAME,
      isHost: false,
      lastUsedMs: now - 9e6,
    },
  ];
}

function signIn(detail: string, call: Call): SignInScreen {
  const form: SignInWay = {
    kind: "form",
    name: "unverified",
    label: "Your name",
    details: undefined,
    fields: [
      { name: "user", label: "Name", placeholder: undefined, isRequired: true, isSecret: false },
      { name: "email", label: "Email", placeholder: undefined, isRequired: false, isSecret: false },
    ],
    submit: (values) => call(`submit ${values["user"]}`),
  };
  const web: SignInWay = {
    kind: "web",
    name: "company",
    label: "Sign in with Example Corp",
    open: () => call("open company"),
  };
  return {
    at: "sign-in",
    purpose: detail === "host" ? "host" : "join",
    roomId: "Yb2kLmQ8pVxT4rZc9wNd",
    ways: signal(detail === "loading" ? undefined : [form, web]),
    signedInAs: signal(detail === "known" ? "Ada Lovelace" : undefined),
    isBusy: signal(detail === "busy"),
    problem: signal(detail === "problem" ? "Enter a name with 64 characters at most." : undefined),
    proceed: () => call("proceed"),
    signOut: () => call("signOut"),
    retry: () => call("retry"),
    cancel: () => call("cancel"),
  };
}

function ended(reason: EndReason, call: Call): EndedScreen {
  const texts = [FILE, "payment-service/README.md"].map((path) => ({ path, text: CODE }));
  return {
    at: "ended",
    reason,
    isHost: reason === "lost",
    workspaceName: "payment-service",
    texts: reason === "left" || reason === "moved" ? [] : texts,
    download: () => call("download"),
    rejoin: reason === "rejected" || reason === "moved" ? () => call("rejoin") : undefined,
  };
}

const FILES: Readonly<Record<string, OpenFile>> = {
  loading: { state: "loading" },
  text: textFile(FILE, CODE),
  "read-only": textFile(FILE, CODE, true),
  preview: { state: "preview", text: CODE },
  binary: { state: "binary", bytes: 1_234_567, content: new Uint8Array() },
  "foreign-text": { state: "foreign-text", text: "Stra\u00dfe", content: new Uint8Array() },
  "too-large": { state: "too-large", bytes: 35_000_000 },
  failed: { state: "failed", message: "The host did not respond within 30 seconds." },
};

function sessionFor(detail: string, call: Call): FakeSession {
  const isAlone = detail === "alone";
  const session = createFakeSession({
    isHost: isAlone || detail === "host",
    isAlone,
    onCall: call,
  });
  if (isAlone || detail === "empty") return session;
  session.openAs("payment-service/src/main.ts", textFile("payment-service/src/main.ts", CODE));
  session.openAs("payment-service/src/api/main.ts", textFile(FILE, CODE));
  const tab = session.openAs(FILE, FILES[detail] ?? textFile(FILE, CODE));
  switch (detail) {
    case "gone":
      tab.isGone.value = true;
      break;
    case "save-failed":
      tab.save.value = { state: "failed", message: "The disk is full." };
      break;
    case "following":
      session.follow("p1");
      break;
    case "reconnecting":
      session.connection.value = { state: "reconnecting", untilMs: performance.now() + 125_000 };
      break;
    case "rejoining":
      session.connection.value = { state: "rejoining", isWaitingForHost: true };
      break;
    case "notices":
      session.notices.value = [
        { id: 1, kind: "info", text: `${MARKUP_NAME} joined.` },
        { id: 2, kind: "problem", text: "README.md could not be saved." },
      ];
      break;
    case "host":
      addJoinRequest(
        session,
        {
          id: "r1",
          name: "Edsger Dijkstra",
          email: "edsger@example.com",
          signedInBy: "Example Corp",
        },
        call,
      );
      addJoinRequest(
        session,
        { id: "r2", name: MARKUP_NAME, email: undefined, signedInBy: undefined },
        call,
      );
      break;
    default:
      session.isReadOnly.value = detail === "read-only";
  }
  return session;
}
