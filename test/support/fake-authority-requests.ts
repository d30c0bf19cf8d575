/** The signed requests that a fake authority receives (RFC 8555 §6), its accounts and its nonces. */
import {
  createHash,
  createHmac,
  createPublicKey,
  type JsonWebKey,
  randomBytes,
  verify,
} from "node:crypto";

/** A problem document. `type`: without its prefix, like `rateLimited`. */
export class Refusal extends Error {
  readonly status: number;
  readonly type: string;
  readonly retryAfter: string | undefined;

  constructor(status: number, type: string, detail: string, retryAfter?: string) {
    super(detail);
    this.status = status;
    this.type = type;
    this.retryAfter = retryAfter;
  }
}

export function problemBody({ status, type, message }: Refusal): unknown {
  return { type: `urn:ietf:params:acme:error:${type}`, detail: message, status };
}

export interface Account {
  readonly url: string;
  readonly jwk: JsonWebKey;
  readonly contact: readonly string[] | undefined;
  readonly termsOfServiceAgreed: boolean | undefined;
  /** Of the external account binding. */
  readonly bindingKeyId: string | undefined;
}

/** External account binding. */
export interface Binding {
  readonly keyId: string;
  /** In base64url. */
  readonly key: string;
}

export type Payload = Readonly<Record<string, unknown>>;

export class SignedRequests {
  readonly accounts: Account[] = [];
  /** What no correct client sends. */
  readonly violations: string[] = [];
  readonly #nonces = new Set<string>();

  newNonce(): string {
    const nonce = randomBytes(12).toString("base64url");
    this.#nonces.add(nonce);
    return nonce;
  }

  /** What a request to `url` says, which a known account has signed. */
  open(url: string, body: string): { readonly account: Account; readonly payload: Payload } {
    const signed = parseSigned(body);
    this.#verifyHeader(signed.header, url, "kid");
    const account = this.accounts.find((one) => one.url === signed.header["kid"]);
    if (account === undefined) throw new Refusal(400, "accountDoesNotExist", "no such account");
    this.#verifySignature(signed, account.jwk);
    return { account, payload: signed.payload };
  }

  /** `url`: of the account. `endpoint`: where it was created. */
  newAccount(request: {
    readonly url: string;
    readonly endpoint: string;
    readonly body: string;
    readonly binding: Binding | undefined;
  }): void {
    const { url, endpoint, body, binding } = request;
    const signed = parseSigned(body);
    this.#verifyHeader(signed.header, endpoint, "jwk");
    const jwk = signed.header["jwk"] as JsonWebKey;
    this.#verifySignature(signed, jwk);
    const { contact, termsOfServiceAgreed, externalAccountBinding } = signed.payload as Partial<
      Account & { externalAccountBinding: unknown }
    >;
    if (binding !== undefined) this.#verifyBinding(externalAccountBinding, binding, jwk, endpoint);
    this.accounts.push({ url, jwk, contact, termsOfServiceAgreed, bindingKeyId: binding?.keyId });
  }

  #verifyHeader(header: Payload, url: string, signer: "kid" | "jwk"): void {
    const signers = ["kid", "jwk"].filter((name) => name in header);
    if (signers.join() !== signer) this.#violation(`signed with ${signers.join()}`);
    if (header["alg"] !== "ES256") this.#violation(`alg is ${String(header["alg"])}`);
    if (header["url"] !== url) this.#violation(`url is ${String(header["url"])}, not ${url}`);
    if (!this.#nonces.delete(String(header["nonce"]))) this.#violation("the nonce was used before");
  }

  #verifySignature({ signedText, signature }: Signed, jwk: JsonWebKey): void {
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const isSigned = verify("sha256", signedText, { key, dsaEncoding: "ieee-p1363" }, signature);
    if (!isSigned) this.#violation("the signature is wrong");
  }

  /** RFC 8555 §7.3.4. */
  #verifyBinding(given: unknown, binding: Binding, jwk: JsonWebKey, endpoint: string): void {
    if (given === undefined) {
      throw new Refusal(403, "externalAccountRequired", "an external account is required");
    }
    const { header, payload, signedText, signature } = parseSigned(JSON.stringify(given));
    if (header["url"] !== endpoint || header["alg"] !== "HS256" || "nonce" in header) {
      this.#violation("the header of the binding");
    }
    if (thumbprint(payload) !== thumbprint(jwk)) this.#violation("the binding is of another key");
    const key = Buffer.from(binding.key, "base64url");
    const isSealed = createHmac("sha256", key).update(signedText).digest().equals(signature);
    if (header["kid"] !== binding.keyId || !isSealed) {
      throw new Refusal(403, "unauthorized", "unknown external account");
    }
  }

  #violation(what: string): never {
    this.violations.push(what);
    throw new Refusal(400, "malformed", what);
  }
}

interface Signed {
  readonly header: Payload;
  readonly payload: Payload;
  readonly signedText: Buffer;
  readonly signature: Buffer;
}

/** A flattened JWS (RFC 7515 §7.2.2). */
function parseSigned(body: string): Signed {
  const signed = JSON.parse(body) as { protected: string; payload: string; signature: string };
  const read = (part: string): Payload =>
    part === "" ? {} : JSON.parse(Buffer.from(part, "base64url").toString());
  return {
    header: read(signed.protected),
    payload: read(signed.payload),
    signedText: Buffer.from(`${signed.protected}.${signed.payload}`),
    signature: Buffer.from(signed.signature, "base64url"),
  };
}

/** RFC 7638. */
export function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

export function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Refusal(404, "malformed", "there is no such thing");
  return value;
}
