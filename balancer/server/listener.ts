/**
 * The public server: opens its ports, limits the number of connections, and serves each.
 */
import { openPort } from "../../shared/process/program.ts";
import { serveClient } from "../downstream/downstream.ts";
import type { AcceptRequest } from "../downstream/exchange-contract.ts";
import {
  errorResponse,
  ProxyHeaderError,
  TooManyConnectionsError,
} from "../downstream/responses.ts";
import type { DownstreamDeps, ServedClient } from "../downstream/served-client.ts";
import { MissingProxyHeaderError, PlainHttpError } from "../http1/fields.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { OpenList } from "../transport/open-list.ts";
import type {
  Connection,
  Listening,
  ProxyHeaderOptions,
  TlsCertificate,
  TlsChallenge,
  Transport,
} from "../transport/transport.ts";
import { openPublic } from "./public-host.ts";

export interface Listener {
  /** The address that both ports listen on. */
  readonly host: string;
  readonly httpPort: number;
  /** Undefined without a certificate. */
  readonly tlsPort: number | undefined;
  /** Open connections of clients. */
  readonly connections: number;
  /** For TLS handshakes from now on. */
  useCertificates(certificates: readonly TlsCertificate[]): void;
  /** Stops accepting; connections end with the response under way, idle ones soon. */
  shutDown(): void;
  /** Stops accepting; open connections stay until `destroyAll`. */
  close(): void;
  destroyAll(): void;
}

/** Opens the ports. Rejects with a `SettingError` for the first that cannot be opened. */
export async function listen(
  deps: DownstreamDeps & {
    transport: Transport;
    /** CT_BIND; undefined: every address of the machine. */
    bind: string | undefined;
    port: number;
    tlsPort: number;
    /** Whether other processes of this balancer listen on the same ports. */
    isShared: boolean;
    certificates: readonly TlsCertificate[];
    /** Of certificate authorities. Without it and without certificates there is no HTTPS port. */
    tlsChallenge: TlsChallenge | undefined;
    tlsHandshakeTimeoutMs: number;
    /** Peers that begin with a PROXY protocol header; undefined: none. */
    proxyHeaderFrom: TrustedProxies | undefined;
    /** Whether a request asks for the health of this balancer: it needs no PROXY protocol header. */
    isHealthTarget: (target: string) => boolean;
    maxConnections: number;
    /** Whether one more connection from this address may be served; undefined: any. */
    admits: ((address: string) => boolean) | undefined;
  },
): Promise<Listener> {
  const { transport, counters, certificates } = deps;
  const open = new OpenList<ServedClient>();
  let sockets = 0;

  const common = {
    isShared: deps.isShared,
    admit() {
      if (sockets >= deps.maxConnections) {
        counters.count("balancer.refused", "too many connections");
        return false;
      }
      sockets++;
      return true;
    },
    refusal() {
      const requestId = deps.nextRequestId();
      const context = { requestId, close: true, minor: 1, method: "GET" } as const;
      const { head, body } = errorResponse(new TooManyConnectionsError(), context);
      return head + body;
    },
    onGone() {
      sockets--;
    },
    admitsFrom: deps.admits,
    onConnection: (connection: Connection) => serve(connection, deps),
    proxyHeader: proxyHeaderOptions(),
  };

  function proxyHeaderOptions(): ProxyHeaderOptions | undefined {
    const from = deps.proxyHeaderFrom;
    if (from === undefined) return undefined;
    const acceptRequest: AcceptRequest = (head, client) => {
      if (!deps.isHealthTarget(head.target)) throw new MissingProxyHeaderError();
      return deps.acceptRequest(head, client);
    };
    const missing = { ...deps, acceptRequest };
    return {
      isFrom: (address) => from.has(address),
      timeoutMs: deps.limits.headerTimeoutMs,
      onRefused(address, reason) {
        counters.count("balancer.refused", "proxy protocol");
        const unread = { requestLine: "", host: undefined, worker: undefined, status: 0 };
        const error = new ProxyHeaderError(reason);
        const requestId = deps.nextRequestId();
        deps.requestLog.failed({ ...unread, error, requestId, peerAddress: address });
      },
      onMissing: (connection) => serve(connection, missing),
    };
  }

  function serve(connection: Connection, serveDeps: DownstreamDeps): void {
    open.add(serveClient(connection, serveDeps, (client) => open.delete(client)));
  }

  const { bind, port, tlsPort } = deps;
  let host = "";
  const listening: Listening[] = [
    await openPort("CT_PORT", port, () =>
      openPublic(bind, (address) => {
        host = address;
        return transport.listen({ ...common, host, port });
      }),
    ),
  ];
  if (certificates.length > 0 || deps.tlsChallenge !== undefined) {
    const plainHttpDeps = { ...deps, acceptRequest: refusePlainHttp };
    const tls = {
      certificates,
      challenge: deps.tlsChallenge,
      handshakeTimeoutMs: deps.tlsHandshakeTimeoutMs,
      onHandshakeFailed: () => counters.count("balancer.refused", "tls handshake"),
      onPlainConnection: (connection: Connection) => serve(connection, plainHttpDeps),
    };
    listening.push(
      await openPort("CT_TLS_PORT", tlsPort, () =>
        transport.listen({ ...common, host, port: tlsPort, tls }),
      ),
    );
  }
  const [http, https] = listening;

  function close(): void {
    for (const one of listening.splice(0)) one.close();
  }

  return {
    host,
    httpPort: http?.port ?? port,
    tlsPort: https?.port,
    get connections() {
      return sockets;
    },
    useCertificates: (fresh) => https?.useCertificates(fresh),
    shutDown() {
      close();
      for (const client of open.all()) client.shutDown();
    },
    close,
    destroyAll() {
      for (const client of open.all()) client.destroy();
    },
  };
}

/** For the HTTPS port: a request without TLS is parsed like any other, so that its client gets a readable error. */
function refusePlainHttp(): never {
  throw new PlainHttpError();
}
