/**
 * Sockets of browsers, through a balancer over two workers. A browser has one `ctstickiness` cookie, of whichever session was
 * opened last, and its WebSockets have no headers of their own.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { createApi } from "../support/counted/api.ts";
import { until } from "../support/until.ts";
import { RawPeer, type WireMessage } from "../worker/sessions/raw-peer.ts";

interface Session {
  readonly id: string;
  readonly host: RawPeer;
  readonly guest: RawPeer;
  /** Whether both use polling only. */
  readonly polls: boolean;
}

let cluster: Cluster;
let url: string;
let userToken: string;
const peers: RawPeer[] = [];
const sessions: Session[] = [];

beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 1 });
  url = cluster.balancers[0]?.url ?? "";
  userToken = await createApi(url).signIn("Ada");
});
afterAll(async () => {
  for (const peer of peers) peer.close();
});

test.each([
  ["a WebSocket", { transports: ["websocket"], payload: {} }],
  ["polling", { transports: ["polling"] }],
  ["polling, with the token in the CONNECT", { transports: ["polling"], payload: {} }],
  ["polling that becomes a WebSocket", { transports: ["polling", "websocket"] }],
] as const)(
  "two tabs with only %s are each in their own session, whichever cookie the browser has",
  async (_, how) => {
    const created = [];
    for (const worker of cluster.workers) created.push(await create(worker.url));
    const [first, second] = created as [Created, Created];
    for (const [own, other] of [
      [first, second],
      [second, first],
    ] as const) {
      const enter = (roomToken: string): Promise<RawPeer> =>
        open({ ...how, roomToken, url: `${url}/k/${own.roomId}`, cookie: other.roomId });
      const host = await enter(own.roomToken);
      const guest = await enter(await invite(own.roomId, host));
      sessions.push({
        id: own.roomId,
        host,
        guest,
        polls: how.transports.length === 1 && how.transports[0] === "polling",
      });
    }
    for (const session of sessions.slice(-2)) await hear(session, "hello");
  },
);

test("a page below a key reaches its session as well", async () => {
  const { roomId, roomToken } = await create(url);
  const host = await open({
    url: `${url}/k/team/k/${roomId}`,
    roomToken,
    cookie: sessions[0]?.id ?? "",
    transports: ["websocket"],
    payload: {},
  });
  expect(host.connects).toBe(1);
  host.close();
});

test("after the kill of a worker those of its clients that poll are back in the same sessions, and all others stayed", async () => {
  const [victim] = cluster.workers;
  await victim?.kill();
  // Of each two sessions, the first was created at this worker.
  const lost = sessions.filter(({ polls }, index) => polls && index % 2 === 0);
  await until("all are back", () =>
    lost.every(({ host, guest }) => host.connects >= 2 && guest.connects >= 2),
  );
  for (const session of sessions) await hear(session, "hello again");
  const kept = sessions.filter((session) => !lost.includes(session));
  expect(kept.map(({ host, guest }) => [host.connects, guest.connects])).toEqual(
    kept.map(() => [1, 1]),
  );
  // No one left, and no one got another identity.
  for (const { host, guest } of sessions) {
    expect(host.plain("room/left")).toEqual([]);
    expect([host.plain("peer/info").length, guest.plain("peer/info").length]).toEqual([1, 1]);
  }
});

test("tokens and session ids of browsers are in no log line of a process", () => {
  const output = [...cluster.workers, ...cluster.balancers].map((member) => member.output()).join();
  for (const secret of [userToken, ...sessions.map(({ id }) => id)]) {
    expect(output.includes(secret)).toBe(false);
  }
});

// --- people ---

type Created = Awaited<ReturnType<typeof create>>;

/** At a worker itself, to choose which one owns the session. */
function create(at: string) {
  return createApi(at, userToken).create();
}

/** Asks to join, lets the host accept, and resolves with the guest's token. */
async function invite(roomId: string, host: RawPeer): Promise<string> {
  const token = createApi(url, userToken).join(roomId);
  const isJoin = ({ content }: WireMessage): boolean =>
    (content as { method?: string } | undefined)?.method === "peer/join";
  host.decide(await until("the host is asked", () => host.received.find(isJoin)), true);
  return token;
}

function open({
  cookie,
  ...options
}: ConstructorParameters<typeof RawPeer>[0] & { readonly cookie: string }): Promise<RawPeer> {
  const peer = new RawPeer({ ...options, headers: { cookie: `ctstickiness=${cookie}` } });
  peers.push(peer);
  return peer.ready();
}

/** Both hear each other. */
async function hear({ host, guest }: Session, text: string): Promise<void> {
  host.broadcast(text, [guest.id]);
  guest.broadcast(text, [host.id]);
  await until(`both hear "${text}"`, () =>
    [host, guest].every((peer) => peer.contents("broadcast").includes(text)),
  );
}
