/** Links between a balancer's data path and an HTTP server of the test. */

import type { Server } from "node:http";
import { createLinkTargets, type LinkTargets } from "../../balancer/upstreams/link-target.ts";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import { createLog } from "../../shared/logs/log.ts";
import { edgeProof } from "../../shared/net/edge-headers.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { createBalancerAuth } from "../../worker/balancers/balancer-auth.ts";
import {
  createLinkServer,
  isLinkRequest,
  type LinkServer,
} from "../../worker/links/link-server.ts";
import { EDGE_KEY, workerRecord } from "../balancer/rig.ts";

/** How the test's balancer asks for links. */
export function linkTargets(options: { isOn?: boolean; edgeKey?: Buffer } = {}): LinkTargets {
  const { isOn = true, edgeKey = EDGE_KEY } = options;
  return createLinkTargets({
    isOn,
    edgeKeys: onlyKey(edgeKey),
    self: { id: "balancer-1" as WorkerId, incarnation: newIncarnation() },
    prove: ({ id, incarnation }) => edgeProof(edgeKey, id, incarnation),
  });
}

export interface AcceptedLinks {
  readonly links: LinkServer;
  /** Log entries about bugs. */
  readonly bugs: readonly string[];
  /** The record of a worker that listens at `port`. */
  record(port: number): WorkerRecord;
}

/** Lets balancers open links to `server`, as the worker with this id. */
export function acceptLinks(
  server: Server,
  options: { id?: string; clock?: Clock } = {},
): AcceptedLinks {
  const self = { id: (options.id ?? "w1") as WorkerId, incarnation: newIncarnation() };
  const bugs: string[] = [];
  const links = createLinkServer({
    balancerAuth: createBalancerAuth({ edgeKeys: onlyKey(EDGE_KEY), self, urlOf: () => undefined }),
    clock: options.clock ?? systemClock,
    log: createLog({
      name: "test",
      level: "error",
      format: "text",
      sink: { write: (line) => void bugs.push(String(line)) },
    }),
    maxStreams: 20_000,
    serve: (socket) => server.emit("connection", socket),
  });
  server.on("upgrade", (req, socket, head) => {
    if (isLinkRequest(req)) links.accept(req, socket, head);
  });
  return {
    links,
    bugs,
    record: (port) => workerRecord(self.id, port, { ...self, linkVersion: LINK_VERSION }),
  };
}
