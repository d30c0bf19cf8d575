/**
 * The log record of one request: collected while it is served, written once, however it ends.
 */
import { copyOf } from "../../shared/base/ids.ts";
import { checkedField } from "../http1/fields.ts";
import type { RequestHead } from "../http1/head.ts";
import { FORWARDING } from "../http1/headers.ts";
import type { LoggedHead } from "./access-log.ts";
import type { RequestLog } from "./request-log.ts";

const SWITCHING_PROTOCOLS = 101;
/** nginx's status for a client that disconnected before it got a response. */
const CLIENT_CLOSED_REQUEST = 499;

export class RequestRecord {
  readonly requestId: string;
  readonly #log: RequestLog;
  readonly #peerAddress: string;
  #host: string | undefined;
  #head: LoggedHead | undefined;
  #line: string;
  #status = 0;
  #headBytes = 0;
  #sentBytes = 0;
  #isWritten = false;

  /** `head` is undefined when it could not be parsed; `line` is the request line as far as it was received. */
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
    this.#head = deps.head;
    this.#line = deps.line;
  }

  /** The next response: its status, and the size of its head. */
  beginResponse(status: number, headBytes: number): void {
    this.#status = status;
    this.#headBytes = headBytes;
  }

  addSent(bytes: number): void {
    this.#sentBytes += bytes;
  }

  /** The response is complete. */
  onFinished(): void {
    this.#write(this.#status, 0);
  }

  /** The response was cut with `unsentBytes` still unsent; `status` is logged if no response had begun. */
  onCut(status: number, unsentBytes: number): void {
    this.#write(this.#sentBytes > 0 ? this.#status : status, unsentBytes);
  }

  /** The client disconnected. */
  onClientGone(unsentBytes: number): void {
    this.onCut(CLIENT_CLOSED_REQUEST, unsentBytes);
  }

  /**
   * The request becomes a tunnel, which may stay open for days: only what its line needs is kept, copied, because slices
   * of the head would keep the whole head in memory.
   */
  onTunnel(): void {
    this.#line = copyOf(this.#line);
    this.#host = undefined;
    if (this.#head !== undefined) this.#head = copyOfLogged(this.#head);
  }

  /** The tunnel has ended. */
  onTunnelOver(bytesToClient: number): void {
    this.#headBytes = 0;
    this.#sentBytes = bytesToClient;
    this.#write(SWITCHING_PROTOCOLS, 0);
  }

  /** Writes to error.log; the line in access.log follows. `status`: that of the response to the client, 0 if none is sent. */
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

  #write(status: number, unsentBytes: number): void {
    if (this.#isWritten) return;
    this.#isWritten = true;
    this.#log.served({
      peerAddress: this.#peerAddress,
      requestLine: this.#line,
      head: this.#head,
      status,
      bodyBytes: Math.max(0, this.#sentBytes - this.#headBytes - unsentBytes),
    });
  }
}

function copyOfLogged({ values, fields }: LoggedHead): LoggedHead {
  const { referer, userAgent, authorization } = values;
  return {
    values: {
      referer: referer && copyOf(referer),
      userAgent: userAgent && copyOf(userAgent),
      authorization: authorization && copyOf(authorization),
    },
    fields: fields
      .filter(({ lower }) => FORWARDING.has(lower))
      .map(({ name, lower, value }) => checkedField(name, lower, copyOf(value))),
  };
}
