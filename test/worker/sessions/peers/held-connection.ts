/** A peer's connection that the test controls, for what happens to all connections of a session. */
import type { PeerId } from "../../../../shared/base/ids.ts";
import { createCounters } from "../../../../shared/metrics/metrics.ts";
import type { PeerRecord } from "../../../../shared/store/store.ts";
import {
  type Connection,
  type ConnectionEvents,
  type MoveObstacle,
  Peer,
} from "../../../../worker/sessions/peers/peer.ts";

const RECORD: PeerRecord = {
  id: "ABCDEFGHIJKLMNOPQRSTUVWX" as PeerId,
  host: false,
  user: { id: "u", name: "U" },
  publicKey: "key",
  client: "test",
  compression: [],
  tokenId: "t",
  settled: true,
};

export class HeldConnection implements Connection {
  readonly ordinal = 1;
  readonly pendingBytes = 0;
  unsentBytes = 0;
  isMovable = true;
  isResumed = false;
  isMigrating = false;
  /** What `stopInput` and `freeze` find. */
  obstacles: { input?: MoveObstacle; output?: MoveObstacle } = {};
  /** Whether its client follows a migrate request. */
  follows = true;
  /** What was called, in order. */
  readonly calls: string[] = [];
  #events: ConnectionEvents | undefined;

  open(events: ConnectionEvents): void {
    this.#events = events;
  }

  send(): void {}

  migrate(): void {
    this.calls.push("migrate");
    this.isMigrating = true;
    if (this.follows) this.#events?.closed([]);
  }

  close(): void {
    this.calls.push("close");
    this.#events?.closed([]);
  }

  end(): void {}

  async stopInput(): Promise<MoveObstacle | undefined> {
    this.calls.push("stop input");
    return this.obstacles.input;
  }

  async freeze(): Promise<MoveObstacle | undefined> {
    this.calls.push("freeze");
    return this.obstacles.output;
  }

  thaw(): void {
    this.calls.push("thaw");
  }

  markRelayed(): void {
    this.calls.push("mark");
  }

  confirm(): void {
    this.calls.push("confirm");
  }
}

/** A peer with such a connection. */
export function connectedPeer(connection: HeldConnection): Peer {
  const deps = { maxBufferBytes: 1024, counters: createCounters(), announced: "yes" } as const;
  const peer = new Peer(RECORD, deps);
  peer.attach(connection, { message() {}, received() {}, away() {} });
  return peer;
}
