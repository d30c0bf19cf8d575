/**
 * A receiver of webhooks that fails as often as it is told, and keeps what it has got. `problemsOf` says whether all of it came as
 * promised: signed, in order for each session, and twice only with the same id.
 */
import { createHmac, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listen } from "./servers.ts";

export interface Received {
  readonly id: string;
  readonly kind: string;
  readonly at: string;
  readonly session?: string;
  readonly actor?: Readonly<Record<string, unknown>>;
  readonly target?: Readonly<Record<string, unknown>>;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface WebhookReceiver {
  readonly url: string;
  readonly secret: string;
  /** In the order of their first arrival, without duplicates. */
  readonly events: readonly Received[];
  /** All requests, with duplicates and those that it then failed. */
  readonly requests: number;
  /** Requests that carried an event which had come before. */
  readonly duplicates: number;
  /** Share of the requests that fail: half of them before the event is kept, half of them afterwards. */
  failing: number;
  /** Signatures that were wrong, ids with two bodies, and the like. */
  readonly problems: readonly string[];
}

const MAX_AGE_S = 300;

export async function startWebhookReceiver(
  options: { readonly secret?: string; readonly random?: () => number } = {},
): Promise<WebhookReceiver> {
  const secret = options.secret ?? newSecret();
  const random = options.random ?? Math.random;
  const events: Received[] = [];
  const bodies = new Map<string, string>();
  const problems: string[] = [];
  let requests = 0;
  let duplicates = 0;

  function keep(id: string, body: string): void {
    const event = JSON.parse(body) as Received;
    if (event.id !== id) problems.push(`${id}: the body has the id ${event.id}`);
    // What is recorded again after a crash is so at a later time, by another worker, perhaps for another cause.
    const { kind, session, actor } = event;
    const content = JSON.stringify([kind, session, actor?.["id"]]);
    if (bodies.has(id)) {
      duplicates++;
      if (bodies.get(id) !== content) problems.push(`${id}: two bodies`);
      return;
    }
    bodies.set(id, content);
    events.push(event);
  }

  const receiver = {
    failing: 0,
    secret,
    events,
    problems,
    get requests() {
      return requests;
    },
    get duplicates() {
      return duplicates;
    },
  };

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests++;
    const body = await readBody(request);
    if (body === undefined) return;
    const id = String(request.headers["webhook-id"]);
    const problem = verify(request, body, secret);
    if (problem !== undefined) problems.push(`${id}: ${problem}`);
    const chance = random();
    if (chance < receiver.failing / 2) return fail(request, response, chance / receiver.failing);
    keep(id, body);
    if (chance < receiver.failing) return fail(request, response, chance / receiver.failing);
    response.writeHead(204).end();
  }

  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => problems.push(String(error)));
  });
  return Object.assign(receiver, { url: `http://127.0.0.1:${await listen(server)}/hooks` });
}

export function newSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  } catch {
    // The sender was killed.
    return undefined;
  }
}

/** As the documentation shows it. Undefined: it is right. */
export function verify(request: IncomingMessage, body: string, secret: string): string | undefined {
  const [id, timestamp] = ["webhook-id", "webhook-timestamp"].map((name) =>
    String(request.headers[name]),
  );
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const right = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  const signatures = String(request.headers["webhook-signature"]).split(" ");
  if (!signatures.includes(`v1,${right}`)) return "the signature is wrong";
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > MAX_AGE_S) return "the time is wrong";
  return undefined;
}

/** `kind`: 0 to 1. */
function fail(request: IncomingMessage, response: ServerResponse, kind: number): void {
  if (kind % 0.5 < 0.25) response.writeHead(503).end("later");
  else request.socket.destroy();
}
