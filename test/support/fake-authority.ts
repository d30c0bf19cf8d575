/**
 * A certificate authority in this process that speaks ACME (RFC 8555) with renewal information (RFC 9773). It refuses, limits and
 * fails as a test wants. It verifies each request as strictly as a real one, but connects to no name: a function of the test
 * decides whether a challenge succeeds.
 */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { Pkcs10CertificateRequest, SubjectAlternativeNameExtension } from "@peculiar/x509";
import { expect } from "vitest";
import { atEnd } from "./at-end.ts";
import { createIssuer, type Issued, type Issuer } from "./fake-authority-certificates.ts";
import {
  type Attempt,
  type Order,
  Orders,
  type Outcome,
  statusOf,
} from "./fake-authority-orders.ts";
import {
  type Account,
  type Binding,
  found,
  type Payload,
  problemBody,
  Refusal,
  SignedRequests,
} from "./fake-authority-requests.ts";
import { listen } from "./servers.ts";

/** The first part of a path. */
export type Resource =
  | "directory"
  | "new-nonce"
  | "new-account"
  | "account"
  | "renewal-info"
  | "revocation-list"
  | SignedResource;

/** Of requests that an account signs. */
type SignedResource =
  | "new-order"
  | "order"
  | "authorization"
  | "challenge"
  | "finalize"
  | "certificate";

/** Instead of a response: a problem document, another text, a closed connection, or 100 MB. */
export type Fault = Refusal | { readonly body: string } | "closed" | "huge";

interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text and bytes are sent as they are, all else as JSON. */
  readonly body?: unknown;
}

/** Closed when the test finishes, which then fails if a request was not signed as it should be. */
export async function startFakeAuthority(isExpired = false): Promise<FakeAuthority> {
  const issuer = await createIssuer();
  const server = createTlsServer(await issuer.issueForServer(isExpired));
  const listServer = createServer();
  const [port, listPort] = [await listen(server), await listen(listServer)];
  const base = `https://127.0.0.1:${port}`;
  const authority = new FakeAuthority(issuer, base, `http://127.0.0.1:${listPort}`);
  for (const one of [server, listServer]) {
    one.on("request", (request, response) => {
      authority.respond(request, response).catch(() => response.destroy());
    });
  }
  // Later than the last request, because the clients of a test are closed before.
  atEnd(() => expect(authority.violations).toEqual([]));
  return authority;
}

export class FakeAuthority {
  // --- what it does: a test may change this at any time ---

  verify: (attempt: Attempt) => Outcome = () => "valid";
  /** Types of challenges. */
  offers: readonly string[] = ["dns-01", "http-01", "tls-alpn-01"];
  /** Required of new accounts. The key is in base64url. */
  binding: Binding | undefined;
  hasRenewalInfo = true;
  renewal = { start: "2030-01-02T03:04:05Z", end: "2030-01-04T03:04:05Z", retryAfter: "21600" };
  hasRevocationList = true;
  /** Serial numbers. */
  readonly revoked = new Set<string>();
  /** Who signs the list. */
  listIssuer: Issuer;
  /** The order fails when its certificate is issued. */
  refusal: Refusal | undefined;
  /** An order shows that it is ready, and that it is valid, one request late. */
  isSlow = false;

  // --- what it received and made ---

  readonly requests: Resource[] = [];
  readonly issued: Issued[] = [];

  readonly #issuer: Issuer;
  readonly #base: string;
  readonly #listBase: string;
  readonly #orders = new Orders((kind, id) => this.#url(kind, id));
  readonly #signed = new SignedRequests();
  readonly #faults: { readonly resource: Resource; readonly fault: Fault }[] = [];

  constructor(issuer: Issuer, base: string, listBase: string) {
    this.#issuer = issuer;
    this.listIssuer = issuer;
    this.#base = base;
    this.#listBase = listBase;
  }

  get directoryUrl(): string {
    return `${this.#base}/directory`;
  }

  /** PEM. */
  get root(): string {
    return this.#issuer.root;
  }

  get orders(): readonly Order[] {
    return this.#orders.all;
  }

  /** Challenges that it was asked to verify. */
  get attempts(): readonly Attempt[] {
    return this.#orders.attempts;
  }

  /** Once: what the next request to this resource meets. */
  fail(resource: Resource, fault: Fault): void {
    this.#faults.push({ resource, fault });
  }

  get accounts(): readonly Account[] {
    return this.#signed.accounts;
  }

  forgetAccounts(): void {
    this.#signed.accounts.length = 0;
  }

  /** Requests that no correct client sends. */
  get violations(): readonly string[] {
    return this.#signed.violations;
  }

  /** Rejects when the client closes the connection. */
  async respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, name, id = ""] = (request.url ?? "").split("/");
    const resource = name as Resource;
    this.requests.push(resource);
    const body = await text(request);
    const index = this.#faults.findIndex((one) => one.resource === resource);
    const fault = index < 0 ? undefined : this.#faults.splice(index, 1)[0]?.fault;
    if (fault === "closed") {
      response.destroy();
      return;
    }
    response.setHeader("replay-nonce", this.#signed.newNonce());
    if (fault === "huge") await pipeline(hugeBody(), response).catch(() => {});
    else if (fault instanceof Refusal) send(response, problem(fault));
    else if (fault !== undefined) send(response, fault);
    else send(response, await this.#reply(resource, id, body).catch(problem));
  }

  async #reply(resource: Resource, id: string, body: string): Promise<Reply> {
    switch (resource) {
      case "directory":
        return { body: this.#directory() };
      case "new-nonce":
        return {};
      case "renewal-info":
        return this.#renewalInfo(id);
      case "revocation-list":
        return { body: await this.listIssuer.revocationList(this.revoked) };
      case "new-account":
        return this.#newAccount(body);
      case "account":
        throw new Refusal(404, "malformed", "accounts cannot be changed");
      case "new-order":
      case "order":
      case "authorization":
      case "challenge":
      case "finalize":
      case "certificate":
        return this.#replyToAccount(resource, id, body);
    }
  }

  async #replyToAccount(resource: SignedResource, id: string, body: string): Promise<Reply> {
    const { account, payload } = this.#signed.open(this.#url(resource, id), body);
    if (resource === "new-order") return this.#newOrder(account, payload);
    const order = this.#orders.get(id);
    if (order.account !== account) throw new Refusal(403, "unauthorized", "of another account");
    switch (resource) {
      case "order":
        return { body: this.#orders.show(order) };
      case "authorization":
        return { body: this.#orders.showAuthorization(id) };
      case "challenge":
        return { body: this.#orders.attempt(id, this.verify) };
      case "finalize":
        return { body: await this.#finalize(order, payload) };
      case "certificate":
        return { body: found(order.issued).chain, headers: PEM_CHAIN };
    }
  }

  #url(resource: Resource, id = ""): string {
    return `${this.#base}/${resource}${id === "" ? "" : `/${id}`}`;
  }

  #directory(): unknown {
    return {
      newNonce: this.#url("new-nonce"),
      newAccount: this.#url("new-account"),
      newOrder: this.#url("new-order"),
      ...(this.hasRenewalInfo && { renewalInfo: this.#url("renewal-info") }),
      meta: { externalAccountRequired: this.binding !== undefined },
    };
  }

  #renewalInfo(id: string): Reply {
    found(this.issued.find((one) => one.id === id));
    const { start, end, retryAfter } = this.renewal;
    return { headers: { "retry-after": retryAfter }, body: { suggestedWindow: { start, end } } };
  }

  #newAccount(body: string): Reply {
    const url = this.#url("account", randomBytes(4).toString("hex"));
    this.#signed.newAccount({
      url,
      endpoint: this.#url("new-account"),
      body,
      binding: this.binding,
    });
    return { status: 201, headers: { location: url }, body: { status: "valid" } };
  }

  // --- orders ---

  #newOrder(account: Account, payload: Payload): Reply {
    const { identifiers, replaces } = payload as {
      identifiers: { type: string; value: string }[];
      replaces?: string;
    };
    if (replaces !== undefined) {
      found(this.issued.find((one) => one.id === replaces));
      if (this.orders.some((one) => one.replaces === replaces)) {
        throw new Refusal(409, "alreadyReplaced", "it was replaced by another one");
      }
    }
    const domains = identifiers.map(({ value }) => value);
    const order = this.#orders.add({ account, domains, replaces }, this.offers);
    const location = this.#url("order", order.id);
    if (this.isSlow) order.late = ["pending", "pending"];
    return { status: 201, headers: { location }, body: this.#orders.show(order) };
  }

  async #finalize(order: Order, payload: Payload): Promise<unknown> {
    if (statusOf(order) !== "ready") throw new Refusal(403, "orderNotReady", "it is not ready");
    const request = new Pkcs10CertificateRequest(Buffer.from(String(payload["csr"]), "base64url"));
    const names = namesIn(request);
    const isFor = names.join() === order.domains.join();
    if (!isFor || !(await request.verify())) throw new Refusal(400, "badCSR", "other names");
    if (this.refusal !== undefined) {
      order.refusal = this.refusal;
      return this.#orders.show(order);
    }
    const listUrl = this.hasRevocationList ? `${this.#listBase}/revocation-list` : undefined;
    order.issued = await this.#issuer.issue(order.domains, request.publicKey, listUrl);
    this.issued.push(order.issued);
    if (this.isSlow) order.late = ["processing", "processing"];
    return this.#orders.show(order);
  }
}

// --- responses ---

const PEM_CHAIN = { "content-type": "application/pem-certificate-chain" };

function problem(error: unknown): Reply {
  const refusal =
    error instanceof Refusal ? error : new Refusal(500, "serverInternal", String(error));
  const { status, retryAfter } = refusal;
  const headers = {
    "content-type": "application/problem+json",
    ...(retryAfter !== undefined && { "retry-after": retryAfter }),
  };
  return { status, headers, body: problemBody(refusal) };
}

// --- parts ---

function namesIn(request: Pkcs10CertificateRequest): string[] {
  const extension = request.getExtension("2.5.29.17");
  if (extension === null) return [];
  return new SubjectAlternativeNameExtension(extension.rawData).names.items.map(
    ({ value }) => value,
  );
}

function send(response: ServerResponse, { status = 200, headers = {}, body = "" }: Reply): void {
  const isRaw = typeof body === "string" || Buffer.isBuffer(body);
  response.writeHead(status, headers).end(isRaw ? body : JSON.stringify(body));
}

function hugeBody(): Readable {
  const chunk = Buffer.alloc(1_000_000, "[");
  return Readable.from(Array.from({ length: 100 }, () => chunk));
}
