/** What is asked of a certificate authority: an order from its account to its certificate, and what it says of one. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { AuthorityKeyIdentifierExtension, X509Certificate as Parsed } from "@peculiar/x509";
import { type Authorization, Client, crypto, type Order } from "acme-client";
import { concurrently } from "../../shared/base/concurrently.ts";
import type {
  CaJob,
  CaResult,
  CaStep,
  InspectJob,
  InspectResult,
  OrderJob,
  OrderResult,
  PreparedChallenge,
} from "./ca-protocol.ts";
import {
  type CaRequests,
  ChallengeError,
  describeFailure,
  InvalidResponseError,
  ProblemError,
  prepareRequests,
  problemIn,
} from "./ca-requests.ts";
import { CHALLENGE_TYPES, type ChallengeType } from "./record.ts";
import { isRevoked } from "./revocation-list.ts";

/** Resolves when the step is in the store. Rejects when the job must stop. */
export type TakeStep = (step: CaStep) => Promise<void>;

/** Never rejects. */
export async function runJob(job: CaJob, takeStep: TakeStep): Promise<CaResult> {
  const requests = prepareRequests(job.wanted.ca);
  try {
    return job.kind === "order"
      ? await order(job, requests, takeStep)
      : await inspect(job, requests);
  } catch (error) {
    return describeFailure(error);
  }
}

// --- an order ---

async function order(
  job: OrderJob,
  requests: CaRequests,
  takeStep: TakeStep,
): Promise<OrderResult> {
  try {
    return await orderWith(job, requests, takeStep);
  } catch (error) {
    // The authority has forgotten or deactivated the account: a new one will do.
    if (job.account === undefined || !isAccountGone(error)) throw error;
    return orderWith({ ...job, account: undefined, open: undefined }, requests, takeStep);
  }
}

/** At a request of which nothing else is refused so. */
class DeactivatedAccountError extends ProblemError {}

function isAccountGone(error: unknown): boolean {
  return (
    error instanceof DeactivatedAccountError ||
    (error instanceof ProblemError && error.problem.type === "accountDoesNotExist")
  );
}

async function orderWith(
  job: OrderJob,
  requests: CaRequests,
  takeStep: TakeStep,
): Promise<OrderResult> {
  const client = await openAccount(job, takeStep);
  const others = CHALLENGE_TYPES.filter((type) => type !== job.challenge);
  const [first, second = first] = [job.challenge, ...others];
  try {
    return await orderBy(first, job, { client, requests, takeStep });
  } catch (error) {
    if (!(error instanceof ChallengeError)) throw error;
    // A challenge that failed ends its order. Perhaps only one of the two ports leads here.
    try {
      return await orderBy(second, { ...job, open: undefined }, { client, requests, takeStep });
    } catch (again) {
      if (!(again instanceof ChallengeError)) throw again;
      throw new ChallengeError(`${error.message} · ${again.message}`);
    }
  }
}

async function openAccount({ wanted, account }: OrderJob, takeStep: TakeStep): Promise<Client> {
  const key = account?.key ?? (await crypto.createPrivateEcdsaKey()).toString();
  const { binding } = wanted;
  const client = new Client({
    directoryUrl: wanted.directory,
    accountKey: key,
    ...(account !== undefined && { accountUrl: account.url }),
    ...(binding && { externalAccountBinding: { kid: binding.keyId, hmacKey: binding.key } }),
  });
  const { email } = wanted;
  if (account !== undefined && account.email === email) return client;
  const contact = email === undefined ? [] : [`mailto:${email}`];
  if (account === undefined) {
    await client.createAccount({
      termsOfServiceAgreed: true,
      ...(email !== undefined && { contact }),
    });
  } else await client.updateAccount({ contact });
  await takeStep({ step: "account", url: client.getAccountUrl(), key });
  return client;
}

interface OrderParts {
  readonly client: Client;
  readonly requests: CaRequests;
  readonly takeStep: TakeStep;
}

async function orderBy(
  type: ChallengeType,
  job: OrderJob,
  parts: OrderParts,
): Promise<OrderResult> {
  const { client, takeStep } = parts;
  const { domains } = job.wanted;
  const open = (await continueOrder(job, parts)) ?? (await beginOrder(job, parts));
  let { order: current } = open;
  if (current.status === "pending") {
    const authorizations: Authorization[] = [];
    await concurrently(current.authorizations, AT_ONCE, async (url) => {
      authorizations.push(await readOne(url, client));
    });
    await verifyNames(authorizations, type, { client, takeStep });
    current = await awaitOrder(current, "pending", client);
  }
  if (current.status === "ready") {
    const [, csr] = await crypto.createCsr({ altNames: [...domains] }, open.key);
    current = await client.finalizeOrder(current, csr);
  }
  if (current.status === "processing") {
    current = await awaitOrder(current, "processing", client);
  }
  if (current.status !== "valid") throw orderError(current);
  const cert = await client.getCertificate(current);
  if (!isCertificateFor(open.key, cert)) {
    throw new Error("the authority has issued something other than a certificate for the key");
  }
  return { outcome: "issued", cert, key: open.key, challenge: type };
}

/** About two minutes in all. */
const ORDER_POLLS = 20;
const MAX_ORDER_POLL_MS = 8000;

/** As it is when it has another status: an order may follow its names, or its certificate, a moment later. */
async function awaitOrder(order: Order, status: Order["status"], client: Client): Promise<Order> {
  for (let poll = 0; poll < ORDER_POLLS; poll++) {
    const current = await client.getOrder(order);
    if (current.status !== status) return current;
    await setTimeout(Math.min(MAX_ORDER_POLL_MS, POLL_MS * 2 ** poll));
  }
  throw new InvalidResponseError(`the authority has not gone on in time: the order is ${status}`);
}

function orderError({ status, error }: Order): Error {
  if (error === undefined) return new Error(`the order is ${status}`);
  return new ProblemError(problemIn(error));
}

function isCertificateFor(key: string, cert: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

interface OpenedOrder {
  readonly order: Order;
  readonly key: string;
}

/** Undefined: there is none, or it has come to nothing. */
async function continueOrder(
  { open }: OrderJob,
  { client }: OrderParts,
): Promise<OpenedOrder | undefined> {
  if (open === undefined) return undefined;
  try {
    const order = await client.getOrder({ url: open.url } as Order);
    return order.status === "invalid" ? undefined : { order, key: open.key };
  } catch (error) {
    if (!(error instanceof ProblemError && error.isFinal)) throw error;
    return undefined;
  }
}

async function beginOrder(job: OrderJob, parts: OrderParts): Promise<OpenedOrder> {
  const key = (await crypto.createPrivateEcdsaKey()).toString();
  const order = await createOrder(job, parts);
  await parts.takeStep({ step: "order", url: order.url, key });
  return { order, key };
}

async function createOrder(
  { wanted, replaces }: OrderJob,
  { client, requests }: OrderParts,
): Promise<Order> {
  const identifiers = wanted.domains.map((value) => ({ type: "dns", value }));
  if (replaces !== undefined && (await renewalInfoUrl(wanted.directory, requests)) !== undefined) {
    try {
      // Not among the types of acme-client, which passes it on.
      const order = { identifiers, replaces: certificateId(replaces) };
      return await client.createOrder(order as Parameters<Client["createOrder"]>[0]);
    } catch (error) {
      // Another certificate has replaced that one, or this account did not order it.
      if (!(error instanceof ProblemError && error.isFinal)) throw error;
    }
  }
  try {
    return await client.createOrder({ identifiers });
  } catch (error) {
    const isGone = error instanceof ProblemError && error.problem.type === "unauthorized";
    throw isGone ? new DeactivatedAccountError(error.problem) : error;
  }
}

// --- challenges ---

async function verifyNames(
  authorizations: readonly Authorization[],
  type: ChallengeType,
  { client, takeStep }: Pick<OrderParts, "client" | "takeStep">,
): Promise<void> {
  const pending = authorizations
    .filter(({ status }) => status === "pending")
    .map((authorization) => ({
      domain: authorization.identifier.value,
      authorization,
      challenge: pickChallenge(authorization, type),
    }));
  const challenges = await Promise.all(
    pending.map(async ({ authorization, challenge }) => {
      const response = await client.getChallengeKeyAuthorization(challenge);
      return prepare(authorization, challenge, response);
    }),
  );
  await takeStep({ step: "challenges", challenges });
  for (const { challenge } of pending) await client.completeChallenge(challenge);
  const problems: string[] = [];
  await concurrently(pending, AT_ONCE, async ({ domain, authorization, challenge }) => {
    const problem = await awaitVerification(authorization, challenge, client);
    if (problem !== undefined) problems.push(`${domain} by ${challenge.type}: ${problem}`);
  });
  if (problems.length > 0) throw new ChallengeError(problems.sort().join("; "));
}

/** An authority asks from several places, and within seconds. */
const VERIFICATION_POLLS = 30;
const POLL_MS = 1000;

/** Why the name could not be verified; undefined: it was. */
async function awaitVerification(
  { url }: Authorization,
  { type }: Challenge,
  client: Client,
): Promise<string | undefined> {
  for (let poll = 0; poll < VERIFICATION_POLLS; poll++) {
    const current = await readOne(url, client);
    if (current.status === "valid") return undefined;
    const challenge = current.challenges.find((one) => one.type === type);
    const detail = challenge?.error === undefined ? undefined : detailOf(challenge.error);
    if (current.status !== "pending") return detail ?? `it is ${current.status}`;
    // Pending again, with the error of an attempt: some authorities wait to be asked once more.
    if (challenge?.status === "invalid" || (challenge?.status === "pending" && detail)) {
      return detail ?? "the authority could not verify it";
    }
    await setTimeout(POLL_MS);
  }
  return "the authority has not said in time whether it could verify it";
}

type Challenge = Authorization["challenges"][number];

async function readOne(url: string, client: Client): Promise<Authorization> {
  const [authorization] = await client.getAuthorizations({ authorizations: [url] } as Order);
  if (authorization === undefined) throw new Error(`the authority does not know ${url}`);
  return authorization;
}

/** Authorities limit requests by the second (Let's Encrypt: 20), and each of ours is two. */
const AT_ONCE = 4;

function pickChallenge({ identifier, challenges }: Authorization, type: ChallengeType): Challenge {
  const challenge = challenges.find((one) => one.type === type);
  if (challenge === undefined) {
    throw new ChallengeError(`${identifier.value}: the authority does not offer ${type}`);
  }
  return challenge;
}

async function prepare(
  authorization: Authorization,
  { type, token }: Challenge,
  response: string,
): Promise<PreparedChallenge> {
  if (type === "http-01") return { type, token, response };
  const [key, cert] = await crypto.createAlpnCertificate(
    authorization,
    response,
    await crypto.createPrivateEcdsaKey(),
  );
  const domain = authorization.identifier.value.toLowerCase();
  return { type: "tls-alpn-01", domain, cert: cert.toString(), key: key.toString() };
}

/** Of a problem document (RFC 7807). */
function detailOf(error: object): string {
  const { detail } = error as { detail?: unknown };
  return typeof detail === "string" ? detail : "the authority gives no reason";
}

// --- what the authority says of a certificate ---

async function inspect({ wanted, cert }: InspectJob, requests: CaRequests): Promise<InspectResult> {
  const revoked = await isRevoked(cert, requests);
  const nothing = { outcome: "inspected", window: undefined, retryAfterMs: undefined } as const;
  try {
    const base = await renewalInfoUrl(wanted.directory, requests);
    if (base === undefined) return { ...nothing, isRevoked: revoked };
    const { body, retryAfterMs } = await requests.getJson(`${base}/${certificateId(cert)}`);
    return { outcome: "inspected", window: windowIn(body), retryAfterMs, isRevoked: revoked };
  } catch (error) {
    // One that is revoked is replaced, whatever else the authority would say.
    if (revoked) return { ...nothing, isRevoked: true };
    throw error;
  }
}

/** Of the authority; undefined: it gives no renewal information. */
async function renewalInfoUrl(
  directory: string,
  requests: CaRequests,
): Promise<string | undefined> {
  const { renewalInfo } = (await requests.getJson(directory)).body;
  return typeof renewalInfo === "string" ? renewalInfo.replace(/\/$/, "") : undefined;
}

/** RFC 9773 §4.2. */
function windowIn(body: Readonly<Record<string, unknown>>): InspectResult["window"] {
  const window = body["suggestedWindow"] as { start?: unknown; end?: unknown } | undefined;
  const startMs = Date.parse(String(window?.start));
  const endMs = Date.parse(String(window?.end));
  return startMs < endMs ? { startMs, endMs } : undefined;
}

/** The name of a certificate at its authority (RFC 9773 §4.1): its issuer's key and its own number. */
export function certificateId(pem: string): string {
  const keyId = new Parsed(pem).getExtension(AuthorityKeyIdentifierExtension)?.keyId ?? "";
  const serial = new X509Certificate(pem).serialNumber;
  const even = serial.length % 2 === 0 ? serial : `0${serial}`;
  // As in the certificate: a number that begins with a 1 bit would be negative.
  const bytes = Buffer.from(/^[89A-F]/i.test(even) ? `00${even}` : even, "hex");
  return `${Buffer.from(keyId, "hex").toString("base64url")}.${bytes.toString("base64url")}`;
}
