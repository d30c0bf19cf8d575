/** The request by which a balancer turns a connection to a worker into a link, and the check of the response. */
import { EdgeError } from "../../shared/base/errors.ts";
import { INCARNATION_HEADER, LINK_PROTOCOL } from "../../shared/net/edge-headers.ts";
import type { ResponseHead } from "../http1/head.ts";
import { HeadCollector } from "../http1/head-collector.ts";
import { parseResponseHead } from "../http1/response-head.ts";
import type { Connection, ConnectionHandler } from "../transport/transport.ts";
import type { LinkTarget } from "./link-target.ts";

/** A worker does not open a link. */
export class LinkRefusedError extends EdgeError {
  readonly code = "EDGE_LINK_REFUSED";
  /** Whether asking again has no use: this worker has no links of our version. */
  readonly isFinal: boolean;

  constructor(why: string, isFinal = false) {
    super(`the worker opens no link: ${why}`);
    this.isFinal = isFinal;
  }
}

export interface HandshakeOutcome {
  /** `rest`: bytes of the link behind the response, valid until this returns. Sets the connection's handler. */
  onAccepted(rest: Buffer): void;
  onFailed(error: Error): void;
}

/** Sends the request at once. Nothing is called after one of the outcomes. */
export class LinkHandshake implements ConnectionHandler {
  readonly #connection: Connection;
  readonly #target: Pick<LinkTarget, "isProof">;
  readonly #outcome: HandshakeOutcome;
  readonly #collector = new HeadCollector("upstream");
  #isOver = false;

  constructor(
    connection: Connection,
    target: Pick<LinkTarget, "request" | "isProof">,
    outcome: HandshakeOutcome,
  ) {
    this.#connection = connection;
    this.#target = target;
    this.#outcome = outcome;
    connection.handler = this;
    connection.write([target.request]);
  }

  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection.destroy();
  }

  onData(bytes: Buffer): void {
    if (this.#isOver) return;
    try {
      const end = this.#collector.push(bytes, 0);
      if (end < 0) return;
      const text = this.#collector.take();
      this.#check(parseResponseHead(text, "GET", bytes, this.#collector.textStart));
      this.#isOver = true;
      this.#outcome.onAccepted(bytes.subarray(end));
    } catch (error) {
      this.#fail(error instanceof Error ? error : new LinkRefusedError("invalid response"));
    }
  }

  #check(head: ResponseHead): void {
    const { status } = head;
    if (status === 404 || status === 426) throw new LinkRefusedError(`status ${status}`, true);
    const fieldValue = (name: string): string | undefined =>
      head.fields.find((field) => field.name.toLowerCase() === name)?.value;
    if (status !== 101 || fieldValue("upgrade") !== LINK_PROTOCOL) {
      throw new LinkRefusedError(`status ${status}`);
    }
    if (!this.#target.isProof(fieldValue(INCARNATION_HEADER))) {
      throw new LinkRefusedError("it does not prove who it is");
    }
  }

  onEnd(): void {
    this.#fail(new LinkRefusedError("the connection has ended"));
  }

  onDrain(): void {}

  onClose(error: Error | undefined): void {
    this.#fail(error ?? new LinkRefusedError("the connection was closed"));
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection.destroy();
    this.#outcome.onFailed(error);
  }
}
