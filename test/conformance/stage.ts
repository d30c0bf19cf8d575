/**
 * The environment of a case: scripted workers behind the tested balancer, raw clients in front of it. All connections are
 * closed after a case, so the next one starts without a connection to any worker.
 */
import { TLSSocket } from "node:tls";
import { type RawWorker, startRawWorker } from "../balancer/rig.ts";
import { connectRaw, type RawSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";
import { type Answer, ok } from "./case.ts";
import { type Message, readAnswers, readRequests } from "./messages.ts";

/** The tested balancer, ours or a peer. */
export interface Target {
  readonly name: string;
  readonly httpPort: number;
  readonly tlsPort: number;
  close(): Promise<void>;
}

/** A request that shows whether requests and responses on a connection are still in step. */
export const AFTER = "GET /after HTTP/1.1\r\nHost: h\r\n\r\n";
const AFTER_ANSWER = ok("after");

/** Longest wait for anything, enough for a loaded machine. Peers often reach it, so it can be shortened for them. */
const WAIT_MS = Number(process.env["CONFORMANCE_WAIT_MS"] ?? 5000);

export class Stage {
  readonly #target: Target;
  /** Whether clients connect over TLS. */
  readonly secure: boolean;
  readonly #workers: Workers;
  readonly #clients: RawSocket[] = [];

  constructor(target: Target, secure: boolean, workers: Workers) {
    this.#target = target;
    this.secure = secure;
    this.#workers = workers;
  }

  async client(): Promise<RawSocket> {
    const { httpPort, tlsPort } = this.#target;
    const client = await connectRaw(
      this.secure ? { port: tlsPort, tls: {} } : { port: httpPort, allowHalfOpen: true },
    );
    this.#clients.push(client);
    return client;
  }

  /** A client that has sent `bytes`. */
  async send(bytes: string | Buffer): Promise<RawSocket> {
    const client = await this.client();
    client.write(bytes);
    return client;
  }

  /** A client that has sent `request`, and its response once that is complete. */
  async ask(request: string): Promise<{ client: RawSocket; answer: Message | undefined }> {
    const client = await this.send(request);
    const [answer] = await this.answersCome(client, 1);
    return { client, answer };
  }

  /** A client that has sent `request`, and the worker's connection that has got it and responds by hand. */
  async exchange(
    request: string,
  ): Promise<{ readonly client: RawSocket; readonly worker: WorkerConnection }> {
    this.answersByHand();
    const client = await this.send(request);
    await this.requestsCome(1);
    return { client, worker: await this.connection(0) };
  }

  /** A client that has sent half a body, and the worker's connection that has got it and responds by hand. */
  async halfABody(request: string): Promise<Awaited<ReturnType<Stage["exchange"]>>> {
    this.answersByHand();
    const client = await this.send(request);
    const worker = await this.connection(0);
    await worker.raw.has("half");
    return { client, worker };
  }

  /** Sets the responses of the workers to their first, second … request. */
  answers(...answers: Answer[]): void {
    this.#workers.answers = answers;
  }

  /** Lets the case itself respond, with `connection(i).write`. */
  answersByHand(): void {
    this.#workers.answers = undefined;
  }

  /** All requests that reached workers, in the order of their connections. */
  get requests(): Message[] {
    return this.#workers.connections.flatMap(({ all }) => readRequests(all));
  }

  get workerBytes(): string {
    return this.#workers.connections.map(({ all }) => all).join("");
  }

  get workerConnections(): readonly WorkerConnection[] {
    return this.#workers.connections;
  }

  get workerPorts(): readonly number[] {
    return this.#workers.ports;
  }

  /** Waits for the `index`-th connection to any worker. */
  async connection(index: number): Promise<WorkerConnection> {
    await soon(() => this.#workers.connections[index] !== undefined, `worker connection ${index}`);
    return this.#workers.connections[index] as WorkerConnection;
  }

  /** Waits for `count` complete requests at the workers. */
  async requestsCome(count: number): Promise<Message[]> {
    await soon(
      () => this.requests.filter(({ complete }) => complete).length >= count,
      `${count} requests at the workers; they got ${JSON.stringify(this.workerBytes.slice(0, 500))}`,
    );
    return this.requests;
  }

  /** Waits for `count` complete responses at the client, including interim ones. */
  async answersCome(client: RawSocket, count: number, methods = ["GET"]): Promise<Message[]> {
    const answers = () => readAnswers(client.text, methods, client.ended || client.closed);
    await soon(
      () => answers().filter(({ complete }) => complete).length >= count || client.closed,
      `${count} responses; the client got ${JSON.stringify(client.text.slice(0, 500))}`,
    );
    return answers();
  }

  /** An assertion for cases with `play`. */
  check(claim: boolean, what: string): void {
    if (!claim) throw new Error(what);
  }

  async close(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await this.#workers.reset();
  }
}

/** Waits until `condition` holds; rejects with `what` on timeout. */
export async function soon(condition: () => boolean, what: string): Promise<void> {
  await until(what, condition, WAIT_MS);
}

// --- workers ---

/** One connection to a worker, with all bytes received on it. */
export interface WorkerConnection {
  readonly raw: RawSocket;
  readonly all: string;
  write(text: string): void;
}

export interface Workers {
  readonly ports: readonly number[];
  readonly connections: readonly WorkerConnection[];
  /** Undefined: the workers do not respond. */
  answers: readonly Answer[] | undefined;
  /** Closes all connections and waits until the balancer has closed its ends. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** Starts scripted workers. `connections` lists the connections of all of them. */
export async function startWorkers(count: number): Promise<Workers> {
  const connections: (WorkerConnection & { answered: number })[] = [];
  const byRaw = new Map<RawSocket, WorkerConnection & { answered: number }>();
  let served = 0;

  function onData(raw: RawSocket): void {
    let connection = byRaw.get(raw);
    if (connection === undefined) {
      connection = {
        raw,
        answered: 0,
        get all() {
          return raw.text;
        },
        write: (text) => raw.write(text),
      };
      byRaw.set(raw, connection);
      connections.push(connection);
    }
    if (workers.answers === undefined) return;
    const requests = readRequests(raw.text);
    while (requests[connection.answered]?.complete === true) {
      const request = requests[connection.answered++];
      if (request?.line.startsWith("GET /after ")) raw.write(AFTER_ANSWER);
      else give(raw, workers.answers[Math.min(served++, workers.answers.length - 1)]);
    }
  }

  const servers: RawWorker[] = [];
  for (let i = 0; i < count; i++) servers.push(await startRawWorker(onData));

  const workers: Workers = {
    ports: servers.map(({ port }) => port),
    connections,
    answers: [{ bytes: ok("fine") }],
    async reset() {
      for (const server of servers) {
        const open = server.connections.filter((raw) => !raw.closed);
        for (const raw of open) raw.socket.end();
        try {
          await soon(() => open.every((raw) => raw.closed), "the end of connections to a worker");
        } catch {
          for (const raw of open) raw.socket.destroy();
        }
        server.connections.length = 0;
      }
      connections.length = 0;
      byRaw.clear();
      served = 0;
      workers.answers = [{ bytes: ok("fine") }];
    },
    async close() {
      for (const server of servers) await server.close();
    },
  };
  return workers;
}

function give(raw: RawSocket, answer: Answer | undefined): void {
  if (answer === undefined) return;
  if (answer.bytes !== "") raw.write(answer.bytes);
  if (answer.closes === "end") raw.socket.end();
  if (answer.closes === "reset") reset(raw);
}

/** Closes with RST. `resetAndDestroy` alone may send pending bytes and FIN first, which looks like a normal end. */
export function reset({ socket }: RawSocket): void {
  // Node cannot reset the socket under TLS from outside; there a plain close must do.
  if (!(socket instanceof TLSSocket)) socket.resetAndDestroy();
  socket.destroy();
}
