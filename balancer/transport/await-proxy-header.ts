/** Reads the PROXY protocol header at the beginning of an accepted socket, and leaves what follows unread. */
import type { Socket } from "node:net";
import { readProxyHeader } from "./proxy-header.ts";

/** The client as a TCP balancer in front names it. */
export interface Origin {
  /** Undefined: the peer itself is the client. Empty: the peer does not know it, and vouches for nothing that the client sends. */
  readonly address: string | undefined;
  /** Whether the client came by TLS, which the TCP balancer ended. */
  readonly isSecure: boolean;
  /** Whether the peer, which should have, has sent no header. */
  readonly isMissing: boolean;
}

export interface HeaderOutcome {
  /** The socket has stopped flowing. */
  readonly onOrigin: (origin: Origin) => void;
  /** The socket is destroyed. A peer that only connects and closes, as checks of TCP balancers do, is not reported. */
  readonly onRefused: (reason: string) => void;
}

const MISSING: Origin = { address: undefined, isSecure: false, isMissing: true };

const CUT_OFF = "it was cut off";

export function awaitProxyHeader(
  socket: Socket,
  timeoutMs: number,
  { onOrigin, onRefused }: HeaderOutcome,
): void {
  let received = Buffer.alloc(0);
  const stop = (): void => {
    clearTimeout(timeout);
    socket.off("readable", onReadable).off("end", onEnd).off("close", onClose);
  };
  const refuse = (reason: string): void => {
    stop();
    socket.destroy();
    onRefused(reason);
  };
  const onReadable = (): void => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    received = Buffer.concat([received, bytes]);
    const header = readProxyHeader(received);
    if (header.state === "invalid") refuse(header.reason);
    else if (header.state === "none") finish(0, MISSING);
    else if (header.state === "read") {
      const { length, address, isSecure } = header;
      finish(length, { address, isSecure, isMissing: false });
    }
  };
  const finish = (length: number, origin: Origin): void => {
    stop();
    if (length < received.length) socket.unshift(received.subarray(length));
    onOrigin(origin);
  };
  const onEnd = (): void => {
    if (received.length > 0) refuse(CUT_OFF);
    else {
      stop();
      socket.destroy();
    }
  };
  const onClose = (): void => {
    stop();
    if (received.length > 0) onRefused(CUT_OFF);
  };
  const timeout = setTimeout(() => refuse("it did not come in time"), timeoutMs);
  socket.on("readable", onReadable).on("end", onEnd).on("close", onClose);
}
