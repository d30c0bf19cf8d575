/**
 * What is to be told of one request: gathered while it is served, and told once, whichever way it ends.
 */
import { copyOf } from "../../shared/base/ids.ts";
import { checkedField, type Field } from "../http1/fields.ts";
import type { RequestHead } from "../http1/head.ts";
import { isLogged } from "./access-log.ts";
import type { RequestLog } from "./request-log.ts";

const SWITCHING_PROTOCOLS = 101;
/** nginx's word in its log for a client that went away before it was answered. */
const CLIENT_CLOSED_REQUEST = 499;

export class RequestRecord {
  readonly requestId: string;
  readonly #log: RequestLog;
  readonly #peerAddress: string;
  #host: string | undefined;
  #fields: readonly Field[];
  #line: string;
  #status = 0;
  #headBytes = 0;
  #sentBytes = 0;
  #isTold = false;

  /** `head` is undefined when it could not be read; `line` is the request line, as far as it came. */
  constructor(deps: {
    requestId: string;
    log: RequestLog;
    peerAddress: string;
    head: RequestHead | undefined;
    line: string;
  }) {
    this.requestId = deps.requestId;
    this.#log = deps.log;
    this.#peerAddress = deps.peerAddress;
    this.#host = deps.head?.host;
    this.#fields = deps.head?.fields ?? [];
    this.#line = deps.line;
  }

  /** What the answer is that is sent next, and how many bytes its head has. */
  beginResponse(status: number, headBytes: number): void {
    this.#status = status;
    this.#headBytes = headBytes;
  }

  addSent(bytes: number): void {
    this.#sentBytes += bytes;
  }

  /** The answer is complete. */
  onFinished(): void {
    this.#tell(this.#status, 0);
  }

  /** It was cut after `unsentBytes` less than were written; `status` counts when nothing was. */
  onCut(status: number, unsentBytes: number): void {
    this.#tell(this.#sentBytes > 0 ? this.#status : status, unsentBytes);
  }

  /** The client went away. */
  onClientGone(unsentBytes: number): void {
    this.onCut(CLIENT_CLOSED_REQUEST, unsentBytes);
  }

  /**
   * It becomes a tunnel, which may stay for days: only what its line will need is kept, and not as views of the head,
   * which would keep all of it.
   */
  onTunnel(): void {
    this.#line = copyOf(this.#line);
    this.#host = undefined;
    this.#fields = this.#fields
      .filter(({ lower }) => isLogged(lower))
      .map(({ name, lower, value }) => checkedField(name, lower, copyOf(value)));
  }

  /** The tunnel is over. */
  onTunnelOver(bytesToClient: number): void {
    this.#headBytes = 0;
    this.#sentBytes = bytesToClient;
    this.#tell(SWITCHING_PROTOCOLS, 0);
  }

  /** For error.log; the request's line in access.log follows. `status`: what the client is told, 0 for nothing. */
  onFailed(error: unknown, status: number, worker: string | undefined): void {
    this.#log.failed({
      error,
      status,
      worker,
      peerAddress: this.#peerAddress,
      requestId: this.requestId,
      requestLine: this.#line,
      host: this.#host,
    });
  }

  #tell(status: number, unsentBytes: number): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#log.served({
      peerAddress: this.#peerAddress,
      requestLine: this.#line,
      fields: this.#fields,
      status,
      bodyBytes: Math.max(0, this.#sentBytes - this.#headBytes - unsentBytes),
    });
  }
}
