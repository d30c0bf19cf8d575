/**
 * A relay between a balancer and a worker that tells links from plain connections, notes what links carry, and can cut or
 * freeze them.
 */
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { LINK_PATH } from "../../shared/net/edge-headers.ts";
import { framesIn } from "../shared/link/frame-bytes.ts";
import { listen } from "../support/servers.ts";

export type Direction = "toWorker" | "toBalancer";

/** After so many bytes in one direction, or after so many bytes of the first frame of a kind. */
export type Cut = { readonly direction: Direction; readonly bytes: number } & {
  readonly kind?: string;
};

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
  /** The next link ends there. */
  cutNext(cut: Cut): void;
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
  cut: Cut | undefined;
  toWorker: Buffer;
  toBalancer: Buffer;
}

export async function startLinkProxy(workerPort: number): Promise<LinkProxy> {
  const relays: Relay[] = [];
  let nextCut: Cut | undefined;

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
    const limit =
      relay.cut?.direction === direction
        ? limitOf(relay.cut, Buffer.concat([relay[direction], bytes]))
        : Number.POSITIVE_INFINITY;
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
  const port = await listen(server);
  onTestFinished(() => {
    for (const { upstream } of relays) upstream.destroy();
  });

  const proxy: LinkProxy = {
    port,
    get links() {
      return relays.filter(({ isLink }) => isLink);
    },
    get plain() {
      return relays.filter(({ isLink }) => !isLink).length;
    },
    cutNext(cut) {
      nextCut = cut;
    },
    freeze() {
      for (const relay of relays) relay.isFrozen ||= relay.isLink;
    },
    isRefusing: false,
  };
  return proxy;
}

/** How much of what a link carries in one direction is forwarded. */
function limitOf({ kind, bytes }: Cut, carried: Buffer): number {
  if (kind === undefined) return bytes;
  const start = endOfHead(carried);
  const found =
    start < 0 ? undefined : framesIn(carried.subarray(start)).find((frame) => frame.kind === kind);
  return found === undefined ? Number.POSITIVE_INFINITY : start + found.at + bytes;
}

/** Where the frames of a link begin; -1 before that. */
export function endOfHead(carried: Buffer): number {
  const end = carried.indexOf("\r\n\r\n");
  return end < 0 ? -1 : end + 4;
}
