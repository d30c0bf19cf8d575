/** One client of the protocol in one session, as host or guest. */
import { randomBytes } from "node:crypto";
import type { Peer, ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { describeError } from "../../../shared/base/errors.ts";
import { inTime, LATE } from "../../../shared/base/time-limit.ts";
import { readTag, type WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { HttpProbe } from "../probes/http.ts";
import {
  CONNECT_TIMEOUT_MS,
  createProvider,
  PROTOCOL_VERSION,
  type TransportNames,
  type Watched,
} from "./protocol.ts";

export type Person = ReturnType<typeof createPerson>;

/** What a step of a person's way failed with. */
export class StepError extends Error {
  readonly step: Step;
  constructor(step: Step, cause: unknown) {
    super(describeError(cause), { cause });
    this.step = step;
  }
}

export type Step =
  | "create the session"
  | "connect the host"
  | "ask to join"
  | "connect the guest"
  | "exchange messages"
  | "send a file";

const WORKSPACE = { name: "ct-edge verify", folders: ["verify"] };
const REQUEST_TIMEOUT_MS = 12_000;
const UPGRADE_TIMEOUT_MS = 4000;
/** Between the message that one leaves and the end of the connection: together they would be lost. */
const LEAVE_GRACE_MS = 100;

export function createPerson(options: {
  readonly http: HttpProbe;
  readonly baseUrl: string;
  readonly userToken: string;
  readonly transports: TransportNames;
  /** Ends everything, but for the creation of a session, which could not be closed if it were cut off half-way. */
  readonly signal: AbortSignal;
  /** Is aborted some seconds after `signal`. */
  readonly patience: AbortSignal;
}) {
  const { signal, patience } = options;
  let watched: Watched | undefined;
  let connection: ProtocolBroadcastConnection | undefined;
  let peerId = "";
  let disconnects = 0;
  const files = new Map<string, Buffer>();
  const listeners: ((text: string) => void)[] = [];
  const provider = createProvider({
    ...options,
    onTransport(transport) {
      watched = transport;
      transport.socket.on("disconnect", () => disconnects++);
    },
    signIn: async () => false,
  });

  /** Resolves when the server has said who this is. */
  async function enter(
    roomToken: string,
    host: Peer | undefined,
    until: AbortSignal,
    handle: (entered: ProtocolBroadcastConnection) => void,
  ): Promise<void> {
    const entered = await provider.connect(roomToken, host);
    connection = entered;
    const known = new Promise<void>((resolve) => {
      entered.peer.onInfo((_, peer) => {
        peerId = peer.id;
        resolve();
      });
    });
    entered.chat.onMessage((_, text) => {
      for (const listener of listeners) listener(text);
    });
    entered.fs.onReadFile((_, path) => ({ content: files.get(path) ?? madeUp(path) }));
    // Others are of no interest, and without a handler the package logs them.
    entered.onBroadcast(() => {});
    entered.onNotification(() => {});
    entered.onError(() => {});
    handle(entered);
    await arrived(known, CONNECT_TIMEOUT_MS, until, () => lastFailure() ?? "no answer in time");
  }

  function lastFailure(): string | undefined {
    return watched?.failures.at(-1);
  }

  function madeUp(path: string): Buffer {
    const bytes = Math.min(8 * 1024 * 1024, Number(/\d+$/.exec(path)?.[0] ?? 0));
    const content = randomBytes(bytes);
    files.set(path, content);
    return content;
  }

  function open(): ProtocolBroadcastConnection {
    if (connection === undefined) throw new Error("not in a session");
    return connection;
  }

  return {
    /** Creates a session and enters it; its id. */
    async host(): Promise<string> {
      signal.throwIfAborted();
      const { roomId, roomToken } = await step("create the session", () =>
        within(patience, (abortSignal) => provider.createRoom({ abortSignal })),
      );
      await step("connect the host", () =>
        enter(roomToken, undefined, patience, (entered) => listenAsHost(entered, () => peerId)),
      );
      return roomId;
    },
    async join(sessionId: string): Promise<void> {
      const { roomToken, host } = await step("ask to join", () =>
        within(signal, (abortSignal) => provider.joinRoom({ roomId: sessionId, abortSignal })),
      );
      await step("connect the guest", async () => {
        let initialized = (): void => {};
        const init = new Promise<void>((resolve) => {
          initialized = resolve;
        });
        await enter(roomToken, host, signal, (entered) => entered.peer.onInit(() => initialized()));
        await arrived(init, CONNECT_TIMEOUT_MS, signal, () => "the host's greeting did not arrive");
      });
    },
    /** Of the connected client. */
    get peerId(): string {
      return peerId;
    },
    get tag(): WorkerTag | undefined {
      return readTag(watched?.socket.io.engine?.id ?? "");
    },
    get transport(): string {
      return watched?.socket.io.engine?.transport?.name ?? "none";
    },
    /** How often it has lost its connection. */
    get disconnects(): number {
      return disconnects;
    },
    /** What its transport has said about failures. */
    get failures(): readonly string[] {
      return watched?.failures ?? [];
    },
    say: (text: string): Promise<void> => open().chat.sendMessage(text),
    onHeard(listener: (text: string) => void): void {
      listeners.push(listener);
    },
    /** Reads a file of so many bytes from the other person; whether it came whole. */
    async readFile(from: string, bytes: number): Promise<boolean> {
      const { content } = await arrived(
        open().fs.readFile(from, `file-${bytes}`),
        REQUEST_TIMEOUT_MS,
        signal,
        () => lastFailure() ?? "it did not arrive in time",
      );
      return content.length === bytes;
    },
    /** Resolves when it has changed to a WebSocket, or when it has not done so in time. */
    async upgraded(): Promise<void> {
      const engine = watched?.socket.io.engine;
      if (engine === undefined || engine.transport.name === "websocket") return;
      const upgrade = new Promise<void>((resolve) => engine.once("upgrade", () => resolve()));
      await inTime(upgrade, UPGRADE_TIMEOUT_MS, signal);
    },
    /** A host that leaves ends its session. Never rejects. */
    async leave(): Promise<void> {
      const leaving = connection;
      connection = undefined;
      try {
        if (leaving !== undefined && watched?.socket.connected === true) {
          await leaving.room.leave();
          await new Promise((resolve) => setTimeout(resolve, LEAVE_GRACE_MS));
        }
      } catch {
        // The connection is gone, so the server ends the stay by itself.
      }
      leaving?.dispose();
      watched?.socket.close();
    },
  };
}

function listenAsHost(connection: ProtocolBroadcastConnection, ownId: () => string): void {
  connection.peer.onJoinRequest(() => ({ workspace: WORKSPACE }));
  connection.room.onJoin((_, peer) => {
    const host: Peer = { ...peer, id: ownId(), host: true, name: WORKSPACE.name };
    connection.peer
      .init(peer.id, {
        protocol: PROTOCOL_VERSION,
        host,
        guests: [],
        permissions: { readonly: false },
        capabilities: {},
        workspace: WORKSPACE,
      })
      // The guest is gone again.
      .catch(() => {});
  });
}

async function step<T>(name: Step, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new StepError(name, error);
  }
}

function within<T>(
  signal: AbortSignal,
  action: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  return action(AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]));
}

/** Rejects with `why()` after `ms`, and when `signal` is aborted. */
async function arrived<T>(
  promise: Promise<T>,
  ms: number,
  signal: AbortSignal,
  why: () => string,
): Promise<T> {
  const result = await inTime(promise, ms, signal);
  if (result === LATE) throw new Error(signal.aborted ? "interrupted" : why());
  return result;
}
