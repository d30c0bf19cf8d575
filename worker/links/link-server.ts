/**
 * The worker's side of links: a balancer asks for one by an upgrade of `LINK_PATH`, and each stream that it opens on it is
 * served like a connection of its own.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { isWorkerId } from "../../shared/base/ids.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import { BEAT_MS, Link, type Wire } from "../../shared/link/link.ts";
import { newLinkCounts } from "../../shared/link/link-counts.ts";
import type { Chunk } from "../../shared/link/stream.ts";
import type { Log } from "../../shared/logs/log.ts";
import {
  BALANCER_HEADER,
  BALANCER_INCARNATION_HEADER,
  INCARNATION_HEADER,
  LINK_PATH,
  LINK_PROTOCOL,
} from "../../shared/net/edge-headers.ts";
import { plainAddress } from "../../shared/net/networks.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import { refuseUpgrade, textResponse } from "../http/responses.ts";
import { LinkSocket } from "./link-socket.ts";

export type LinkServer = ReturnType<typeof createLinkServer>;

/** Of one worker: more than enough for any number of balancers. */
const MAX_LINKS = 256;

export function isLinkRequest({ method, url }: IncomingMessage): boolean {
  return method === "GET" && url === LINK_PATH;
}

export function createLinkServer(deps: {
  readonly balancerAuth: Pick<BalancerAuth, "judge" | "incarnationProof">;
  readonly clock: Clock;
  readonly log: Log;
  /** Of all links together. */
  readonly maxStreams: number;
  /** Serves a stream. */
  readonly serve: (socket: LinkSocket) => void;
}) {
  const { balancerAuth, clock, log } = deps;
  const links = new Set<Link>();
  const counts = newLinkCounts();
  let isRefusing = false;

  function streamCount(): number {
    let sum = 0;
    for (const link of links) sum += link.size;
    return sum;
  }

  /** Why the request is refused; undefined: it is not. */
  function refusalOf(req: IncomingMessage): ReturnType<typeof textResponse> | undefined {
    // Only a balancer that knows this worker by its id: one with a fixed list takes plain connections.
    // A client's request, which a balancer forwards with its own proof, has no balancer's id: balancers strip it.
    if (balancerAuth.judge(req) !== "id" || balancerOf(req) === "") {
      return textResponse(404, "Not found");
    }
    if (req.headers.upgrade !== LINK_PROTOCOL) {
      return textResponse(426, `This worker speaks version ${LINK_VERSION} of the link`);
    }
    if (isRefusing || links.size >= MAX_LINKS) return textResponse(503, "No more links");
    return undefined;
  }

  function open(socket: Socket, balancer: string): Link {
    const wire = new SocketWire(socket);
    const ends = {
      remoteAddress: socket.remoteAddress,
      remotePort: socket.remotePort,
      localAddress: socket.localAddress,
      localPort: socket.localPort,
    };
    const link = new Link(wire, {
      counts,
      onStream: (stream) => deps.serve(new LinkSocket(stream, ends)),
      mayOpen: () => !isRefusing && streamCount() < deps.maxStreams,
      onClosed(why) {
        links.delete(link);
        beats.cancel();
        log.info({ balancer, err: why }, "a link to a balancer has ended");
      },
      reportBug: (error) => log.error({ err: error }, "a stream failed inside the worker"),
    });
    const beats: Timer = clock.every(BEAT_MS, () => link.beat());
    links.add(link);
    socket.on("data", (bytes: Buffer) => link.receive(bytes));
    socket.on("drain", () => link.onDrain());
    socket.on("end", () => link.onWireClosed(undefined));
    socket.on("close", () => link.onWireClosed(undefined));
    socket.on("error", (error) => link.onWireClosed(error));
    return link;
  }

  return {
    /** Answers an upgrade of `LINK_PATH`. */
    accept(req: IncomingMessage, socket: Duplex, head: Buffer): void {
      const refusal = refusalOf(req);
      // No link within a link.
      if (refusal !== undefined || !isSocket(socket)) {
        refuseUpgrade(socket, refusal ?? textResponse(404, "Not found"));
        return;
      }
      socket.setTimeout(0);
      socket.setNoDelay(true);
      socket.removeAllListeners("error");
      const proof = balancerAuth.incarnationProof(req);
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${LINK_PROTOCOL}\r\n${INCARNATION_HEADER}: ${proof}\r\n\r\n`,
        "latin1",
      );
      const balancer = balancerOf(req);
      const incarnation = req.headers[BALANCER_INCARNATION_HEADER];
      const link = open(socket, balancer);
      log.info({ balancer, incarnation }, "a balancer has opened a link");
      if (head.length > 0) link.receive(head);
    },
    /** Open links. */
    get links(): number {
      return links.size;
    },
    /** Open streams. */
    get streams(): number {
      return streamCount();
    },
    counts,
    /** Accepts no more links and streams. */
    refuse(): void {
      isRefusing = true;
    },
    /** Ends all of them. */
    close(): void {
      for (const link of [...links]) link.close();
    },
  };
}

/** The id of the balancer that has sent the request; empty without one. */
function balancerOf({ headers }: IncomingMessage): string {
  const id = headers[BALANCER_HEADER];
  return typeof id === "string" && isWorkerId(id) ? id : "";
}

function isSocket(socket: Duplex): socket is Socket {
  return "setNoDelay" in socket;
}

class SocketWire implements Wire {
  readonly remoteAddress: string;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.remoteAddress = plainAddress(socket.remoteAddress);
  }

  write(chunk: Chunk): void {
    this.#socket.write(chunk, "latin1");
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  end(): void {
    this.#socket.destroySoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
