/**
 * The key pair of a participant. Its private key stays inside the browser's cryptography: it cannot be exported, and is kept
 * as an opaque object (IndexedDB stores it like that). The protocol package takes private keys as base64 text, so it gets a
 * handle instead, which our WebCrypto module exchanges for the key.
 */
import { initializeProtocol, toBase64 } from "open-collaboration-protocol";

export interface Keys {
  readonly pair: CryptoKeyPair;
  /** Base64 of the SPKI form, as the protocol sends it. */
  readonly publicKey: string;
}

/** As in the protocol package: peers encrypt for this algorithm. */
const ALGORITHM: RsaHashedKeyGenParams = {
  name: "RSA-OAEP",
  modulusLength: 4096,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
};

/** Takes seconds, in a thread of the browser. */
export async function generateKeys(): Promise<Keys> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["encrypt", "decrypt"]);
  const spki = await crypto.subtle.exportKey("spki", pair.publicKey);
  return { pair, publicKey: toBase64(new Uint8Array(spki)) };
}

const privateKeys = new Map<string, CryptoKey>();

/** What the protocol package gets as the private key of `keys`. */
export function privateKeyHandle({ pair }: Keys): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  privateKeys.set(bytes.join(), pair.privateKey);
  return toBase64(bytes);
}

/** Must be called once, before the protocol package is used. */
export function initializeCrypto(): void {
  const { subtle } = crypto;
  const importKey = (
    ...args: Parameters<SubtleCrypto["importKey"]>
  ): Promise<CryptoKey> | CryptoKey => {
    const [format, data] = args;
    const held =
      format === "pkcs8" && data instanceof Uint8Array ? privateKeys.get(data.join()) : undefined;
    return held ?? subtle.importKey(...args);
  };
  // The functions that the package calls (its utils/crypto.ts).
  const module = {
    importKey,
    generateKey: subtle.generateKey.bind(subtle),
    exportKey: subtle.exportKey.bind(subtle),
    encrypt: subtle.encrypt.bind(subtle),
    decrypt: subtle.decrypt.bind(subtle),
  };
  initializeProtocol({ cryptoModule: { subtle: module } as unknown as Crypto });
}
