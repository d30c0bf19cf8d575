/** Unmodified clients of the npm package against the sessions of one worker: over a restart nothing is lost. */
import {
  ConnectionProvider,
  type Peer,
  type ProtocolBroadcastConnection,
  SocketIoTransportProvider,
  VERSION,
} from "open-collaboration-protocol";
import { OpenCollaborationYjsProvider } from "open-collaboration-yjs";
import { expect, it, onTestFinished } from "vitest";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { initializeProtocolWithPooledKeys } from "../../support/rsa-keys.ts";
import { until } from "../../support/until.ts";
import { joinAnswer, requestJoin, startWorker, type WorkerFixture } from "./fixture.ts";

initializeProtocolWithPooledKeys();

interface Person {
  readonly connection: ProtocolBroadcastConnection;
  readonly document: Y.Doc;
  readonly infos: Peer[];
  readonly joined: Peer[];
  readonly left: Peer[];
  readonly notices: string[];
  reconnects: number;
}

async function enter(url: string, roomToken: string, host?: Peer): Promise<Person> {
  const provider = new ConnectionProvider({
    url,
    client: "test@1.0.0",
    // Its only HTTP request here is /api/meta, which another part of the worker serves.
    fetch: () =>
      Promise.resolve(
        Response.json({ owner: "test", version: VERSION, transports: ["socket.io"] }),
      ),
    authenticationHandler: () => Promise.resolve(false),
    transports: [SocketIoTransportProvider],
  });
  const connection = await provider.connect(roomToken, host);
  const document = new Y.Doc();
  const person: Person = {
    connection,
    document,
    infos: [],
    joined: [],
    left: [],
    notices: [],
    reconnects: 0,
  };
  onTestFinished(() => {
    connection.dispose();
    document.destroy();
  });
  connection.peer.onInfo((_, peer) => {
    person.infos.push(peer);
  });
  connection.room.onLeave((_, peer) => {
    person.left.push(peer);
  });
  connection.chat.onMessage((_, text) => {
    person.notices.push(text);
  });
  if (host === undefined) listenAsHost(person);
  else connection.peer.onInit(() => {});
  connection.room.onJoin((_, peer) => {
    person.joined.push(peer);
    if (host === undefined) return init(person, peer);
  });
  const sync = new OpenCollaborationYjsProvider(connection, document, new Awareness(document), {
    resyncTimer: 10_000,
  });
  sync.connect();
  connection.onReconnect(() => {
    person.reconnects++;
    sync.connect();
  });
  await until("the client gets its peer info", () => person.infos.length === 1);
  return person;
}

function listenAsHost({ connection }: Person): void {
  const workspace = { name: "demo", folders: ["src"] };
  connection.peer.onJoinRequest(() => Promise.resolve({ workspace }));
}

async function init({ connection, infos, joined }: Person, peer: Peer): Promise<void> {
  const [host] = infos;
  if (host === undefined) throw new Error("the host does not know itself");
  await connection.peer.init(peer.id, {
    protocol: VERSION,
    host,
    guests: joined.filter(({ id }) => id !== peer.id),
    permissions: { readonly: false },
    capabilities: {},
    workspace: { name: "demo", folders: ["src"] },
  });
}

async function hostOf(worker: WorkerFixture) {
  const { sessionId, roomToken } = await worker.create();
  return { sessionId, host: await enter(worker.url, roomToken) };
}

async function guestOf(
  worker: WorkerFixture,
  sessionId: Parameters<typeof requestJoin>[1],
  n: number,
) {
  const user = { id: `user-${n}`, name: `Guest ${n}` };
  const pollToken = await requestJoin(worker.registry, sessionId, user);
  const answer = await joinAnswer(worker.store, pollToken);
  if (!answer.accepted) throw new Error(answer.code);
  expect(answer.workspace).toEqual({ name: "demo", folders: ["src"] });
  return enter(worker.url, answer.roomToken, answer.host as Peer);
}

it("unmodified clients request, notify and edit, and go on after their worker was killed", async () => {
  const worker = await startWorker();
  const { sessionId, host } = await hostOf(worker);
  const a = await guestOf(worker, sessionId, 1);
  await until("the host knows a", () => host.joined.length === 1);
  const b = await guestOf(worker, sessionId, 2);
  await until("a knows b", () => a.joined.length === 1);
  const all = [host, a, b];
  const edit = (person: Person, line: string) => {
    const text = person.document.getText("file");
    text.insert(text.length, `${line}\n`);
  };
  const texts = () => all.map(({ document }) => document.getText("file").toJSON());
  const documentsHold = (lines: readonly string[]) =>
    until("the documents are equal", () => {
      const [first = "", ...others] = texts();
      return others.every((text) => text === first) && lines.every((line) => first.includes(line));
    });

  await a.connection.chat.sendMessage("hello");
  await until("all others get a's message", () =>
    [host, b].every(({ notices }) => notices.includes("hello")),
  );
  for (const [n, person] of all.entries()) edit(person, `line of ${n}`);
  await documentsHold(["line of 0", "line of 1", "line of 2"]);

  let answer: (() => void) | undefined;
  host.connection.fs.onReadFile(async () => {
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    return { content: new TextEncoder().encode("the file") };
  });
  const hostId = host.infos[0]?.id ?? "";
  const file = a.connection.fs.readFile(hostId, "file");
  const answerNow = await until("the host is asked", () => answer);

  await worker.kill();
  for (const [n, person] of all.entries()) edit(person, `offline line of ${n}`);
  const next = await startWorker({ store: worker.storeFixture, port: worker.port });
  await next.registry.recover();
  await until("all are back", () => all.every(({ reconnects }) => reconnects === 1));
  await documentsHold(["offline line of 0", "offline line of 1", "offline line of 2"]);
  answerNow();
  expect(new TextDecoder().decode((await file).content)).toBe("the file");
  expect(all.map(({ infos, left }) => [infos.length, left.length])).toEqual([
    [1, 0],
    [1, 0],
    [1, 0],
  ]);
  expect(host.joined).toHaveLength(2);
});
