/**
 * Key pairs for test clients. The package generates a 4096-bit RSA pair per connection, which takes about a second of CPU, and
 * each message that a client decrypts with it takes 3.5 ms; here its crypto hook returns pairs of 2048 bits (0.3 ms) from a
 * pool, which is cached in a file in the temporary folder for a day. The pairs protect only messages of tests.
 */
import { webcrypto } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { PROTOCOL_PACKAGES, type ProtocolPackage, protocolPackage } from "./protocols.ts";

/** More than the peers of any session in the tests, so that peers of one session do not share a pair. */
const POOL_SIZE = 16;
const ALGORITHM = {
  name: "RSA-OAEP",
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
};

type Jwk = webcrypto.JsonWebKey;
type CryptoModule = Parameters<ProtocolPackage["initializeProtocol"]>[0]["cryptoModule"];

let nextPair = 0;

/** Initializes the packages with Node's crypto, except for the RSA pairs. */
export function initializeProtocolWithPooledKeys(): void {
  const subtle = new Proxy(webcrypto.subtle, {
    get(target, name) {
      if (name === "generateKey") return generateKey;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  for (const name of PROTOCOL_PACKAGES) {
    protocolPackage(name).initializeProtocol({
      cryptoModule: { subtle } as unknown as CryptoModule,
    });
  }
}

function generateKey(
  algorithm: { readonly name: string },
  ...rest: [boolean, webcrypto.KeyUsage[]]
): Promise<webcrypto.CryptoKeyPair | webcrypto.CryptoKey> {
  if (algorithm.name === "RSA-OAEP") return takePair();
  return webcrypto.subtle.generateKey(algorithm as webcrypto.AesKeyGenParams, ...rest);
}

/** The next pair, round-robin; generated if it is not in the pool yet. */
async function takePair(): Promise<webcrypto.CryptoKeyPair> {
  const index = nextPair++ % POOL_SIZE;
  const found = readPool()[index];
  return found === undefined ? addPair() : importPair(found);
}

async function addPair(): Promise<webcrypto.CryptoKeyPair> {
  const pair = await webcrypto.subtle.generateKey(ALGORITHM, true, ["encrypt", "decrypt"]);
  const jwk = await webcrypto.subtle.exportKey("jwk", pair.privateKey);
  // Another process may have added a pair meanwhile, so the pool is read again.
  const pool = readPool();
  if (pool.length < POOL_SIZE) writePool([...pool, jwk]);
  return pair;
}

async function importPair(jwk: Jwk): Promise<webcrypto.CryptoKeyPair> {
  const { kty, n, e, alg } = jwk as Required<Jwk>;
  const [publicKey, privateKey] = await Promise.all([
    webcrypto.subtle.importKey("jwk", { kty, n, e, alg }, ALGORITHM, true, ["encrypt"]),
    webcrypto.subtle.importKey("jwk", { ...jwk, key_ops: ["decrypt"] }, ALGORITHM, true, [
      "decrypt",
    ]),
  ]);
  return { publicKey, privateKey };
}

// --- the file ---

function poolFile(): string {
  const day = new Date().toISOString().slice(0, 10);
  return join(
    tmpdir(),
    `ct-edge-test-keys-${ALGORITHM.modulusLength}-${userInfo().uid}-${day}.json`,
  );
}

/** The pairs generated so far; none without a valid file. */
function readPool(): readonly Jwk[] {
  try {
    return JSON.parse(readFileSync(poolFile(), "utf8")) as Jwk[];
  } catch {
    return [];
  }
}

function writePool(pool: readonly Jwk[]): void {
  const fresh = `${poolFile()}.${process.pid}`;
  writeFileSync(fresh, JSON.stringify(pool), { mode: 0o600 });
  // Renaming is atomic: a reader sees the old pool or the new one, never a part.
  renameSync(fresh, poolFile());
}
