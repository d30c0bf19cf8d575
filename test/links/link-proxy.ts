/**
 * A relay between a balancer and a worker that tells links from plain connections, notes what links carry, and can cut or
 * freeze them.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { LINK_PATH } from "../../shared/net/edge-headers.ts";

export type Direction = "toWorker" | "toBalancer";

export interface RelayedLink {
  /** What was forwarded. */
  readonly toWorker: Buffer;
  readonly toBalancer: Buffer;
  readonly isOver: boolean;
}

export interface LinkProxy {
  readonly port: number;
  /** All so far. */
  readonly links: readonly RelayedLink[];
  /** Plain connections so far. */
  readonly plain: number;
  /** The next link ends after as many bytes in this direction. */
  cutNext(direction: Direction, atByte: number): void;
  /** Open links forward nothing more, and are not closed, as after a network cut. */
  freeze(): void;
  /** Whether new links are refused. */
  isRefusing: boolean;
}

interface Relay {
  readonly client: Socket;
  readonly upstream: Socket;
  isLink: boolean;
  isOver: boolean;
  isFrozen: boolean;
  cut: { readonly direction: Direction; readonly atByte: number } | undefined;
  toWorker: Buffer;
  toBalancer: Buffer;
}

export async function startLinkProxy(workerPort: number): Promise<LinkProxy> {
  const relays: Relay[] = [];
  let nextCut: Relay["cut"];

  function begin(client: Socket): void {
    const upstream = connect({ port: workerPort, host: "127.0.0.1", allowHalfOpen: true });
    const relay: Relay = {
      client,
      upstream,
      isLink: false,
      isOver: false,
      isFrozen: false,
      cut: undefined,
      toWorker: Buffer.alloc(0),
      toBalancer: Buffer.alloc(0),
    };
    relays.push(relay);
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    client.once("data", (first) => {
      relay.isLink = first.toString("latin1").startsWith(`GET ${LINK_PATH} `);
      if (!relay.isLink) return;
      if (proxy.isRefusing) client.destroy();
      relay.cut = nextCut;
      nextCut = undefined;
    });
    join(relay, "toWorker");
    join(relay, "toBalancer");
  }

  function join(relay: Relay, direction: Direction): void {
    const isUp = direction === "toWorker";
    const [from, to] = isUp ? [relay.client, relay.upstream] : [relay.upstream, relay.client];
    from.on("error", () => {});
    from.on("data", (bytes: Buffer) => forward(relay, direction, { bytes, from, to }));
    from.on("end", () => {
      if (!relay.isFrozen) to.end();
    });
    from.on("close", () => {
      relay.isOver = true;
      if (!relay.isFrozen) to.destroy();
    });
  }

  function forward(
    relay: Relay,
    direction: Direction,
    { bytes, from, to }: { bytes: Buffer; from: Socket; to: Socket },
  ): void {
    if (relay.isFrozen || relay.isOver) return;
    const limit = relay.cut?.direction === direction ? relay.cut.atByte : Infinity;
    const part = bytes.subarray(0, Math.max(0, limit - relay[direction].length));
    if (relay.isLink) relay[direction] = Buffer.concat([relay[direction], part]);
    to.write(part);
    if (!relay.isLink || relay[direction].length < limit) return;
    relay.isOver = true;
    // What was forwarded arrives.
    to.end();
    from.destroy();
  }

  const server = createServer({ allowHalfOpen: true }, begin);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    for (const { client, upstream } of relays) {
      client.destroy();
      upstream.destroy();
    }
    await new Promise((resolve) => server.close(resolve));
  });

  const proxy: LinkProxy = {
    port: (server.address() as AddressInfo).port,
    get links() {
      return relays.filter(({ isLink }) => isLink);
    },
    get plain() {
      return relays.filter(({ isLink }) => !isLink).length;
    },
    cutNext(direction, atByte) {
      nextCut = { direction, atByte };
    },
    freeze() {
      for (const relay of relays) relay.isFrozen ||= relay.isLink;
    },
    isRefusing: false,
  };
  return proxy;
}
