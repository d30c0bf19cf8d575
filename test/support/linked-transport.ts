/**
 * A transport whose connections to workers are streams of links: each address gets a far end that passes the streams on to
 * it by TCP. What is tested over it need not speak links.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Address, Connection, Transport } from "../../balancer/transport/transport.ts";
import { Link, type Wire } from "../../shared/link/link.ts";
import { newLinkCounts } from "../../shared/link/link-counts.ts";
import type { LinkStream } from "../../shared/link/stream.ts";
import { LinkSocket } from "../../worker/links/link-socket.ts";

export interface LinkedTransport extends Transport {
  close(): void;
}

export function createLinkedTransport(
  plain: Transport,
  reportBug: (error: unknown) => void,
): LinkedTransport {
  const links = new Map<string, Promise<Link>>();
  const ends: (() => void)[] = [];

  async function linkTo(address: Address): Promise<Link> {
    const server = createServer((socket) => serveLink(socket, address, reportBug));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(() => server.close());
    return openLink(plain, portOf(server), {
      reportBug,
      onOpen: (link) => ends.push(() => link.close()),
    });
  }

  return {
    listen: (options) => plain.listen(options),
    dial(address, outcome) {
      const name = `${address.host}:${address.port}`;
      const link = links.get(name) ?? linkTo(address);
      links.set(name, link);
      let isCancelled = false;
      let stream: LinkStream | undefined;
      link
        .then(
          (open) => {
            if (isCancelled) return;
            stream = open.open();
            outcome.onOpen(stream);
          },
          (error: unknown) => {
            if (!isCancelled) outcome.onFail(error as Error);
          },
        )
        .catch(reportBug);
      return {
        cancel() {
          isCancelled = true;
        },
      };
    },
    close() {
      for (const end of ends) end();
    },
  };
}

function openLink(
  plain: Transport,
  port: number,
  deps: { readonly reportBug: (error: unknown) => void; readonly onOpen: (link: Link) => void },
): Promise<Link> {
  return new Promise((resolve, reject) => {
    plain.dial(
      { host: "127.0.0.1", port },
      {
        onOpen(connection) {
          const link = new Link(wireOf(connection), {
            counts: newLinkCounts(),
            onClosed() {},
            reportBug: deps.reportBug,
          });
          connection.handler = {
            onData: (bytes) => link.receive(bytes),
            onEnd: () => link.onWireClosed(undefined),
            onDrain: () => link.onDrain(),
            onClose: (error) => link.onWireClosed(error),
          };
          deps.onOpen(link);
          resolve(link);
        },
        onFail: reject,
      },
    );
  });
}

function wireOf(connection: Connection): Wire {
  return {
    remoteAddress: connection.remoteAddress,
    write: (chunk) => void connection.write([chunk]),
    get pendingBytes() {
      return connection.pendingBytes;
    },
    end: () => connection.end(),
    destroy: () => connection.destroy(),
  };
}

/** The far end: passes each stream on to `address`. */
function serveLink(socket: Socket, address: Address, reportBug: (error: unknown) => void): void {
  socket.setNoDelay(true);
  const link = new Link(
    {
      remoteAddress: socket.remoteAddress ?? "",
      write: (chunk) => void socket.write(chunk, "latin1"),
      get pendingBytes() {
        return socket.writableLength;
      },
      end: () => socket.destroySoon(),
      destroy: () => socket.destroy(),
    },
    {
      counts: newLinkCounts(),
      onStream: (stream) => passOn(new LinkSocket(stream, socket), address),
      onClosed() {},
      reportBug,
    },
  );
  socket.on("data", (bytes: Buffer) => link.receive(bytes));
  socket.on("drain", () => link.onDrain());
  socket.on("error", (error) => link.onWireClosed(error));
  socket.on("close", () => link.onWireClosed(undefined));
}

/** Both ways, each with its own end; an abort of one side is an abort of the other. */
function passOn(stream: LinkSocket, address: Address): void {
  const worker = connect({ ...address, allowHalfOpen: true, noDelay: true });
  stream.pipe(worker);
  worker.pipe(stream);
  worker.on("error", (error) => stream.destroy(error));
  stream.on("error", () => {});
  stream.on("close", () => {
    // The kernel refuses a reset behind a FIN, and Node then never closes the socket.
    if (stream.errored === null || worker.writableEnded) worker.destroySoon();
    else worker.resetAndDestroy();
  });
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
