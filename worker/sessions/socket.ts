/**
 * Where peers' connections come in: socket.io over an engine.io server made by hand, so that ids carry the worker's tag
 * and answers the marks for the balancer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../../shared/clock.ts";
import type { Settings } from "../../shared/config.ts";
import type { Log } from "../../shared/log.ts";
import type { Counters } from "../../shared/metrics.ts";
import type { WorkerTag } from "../../shared/tag.ts";
import type { RoomToken, Tokens } from "../login/tokens.ts";
import type { Registry } from "./registry.ts";

export interface Sockets {
  /**
   * The room token that a request to `/socket.io/` carries (header `x-oct-jwt`, else cookie `oct-jwt`), when it is a good
   * one. Checked once per request object; later calls get the same answer.
   */
  identify(req: IncomingMessage): Promise<RoomToken | undefined>;
  /** Takes a request whose path is `/socket.io/`. Head fields set on `res` before (CORS) are sent with the answer. */
  handleRequest(req: IncomingMessage, res: ServerResponse): void;
  /** Takes an upgrade whose path is `/socket.io/`. Adds the error listener itself. */
  handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Open engine.io connections, admitted or not. */
  readonly connections: number;
  /** Closes every connection in a way that makes clients come back; resolves within about a second. */
  close(): Promise<void>;
}

export declare function attachSockets(needs: {
  registry: Registry;
  tokens: Tokens;
  counters: Counters;
  log: Log;
  clock: Clock;
  settings: Pick<Settings, "maxMessageBytes" | "maxMessagesPerSecond">;
  /** Starts every engine.io id. */
  tag: WorkerTag;
}): Sockets;
