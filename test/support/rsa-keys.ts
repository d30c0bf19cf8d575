/**
 * Key pairs for test clients. The package makes a 4096 bit RSA pair for each connection, about a second of a core; here
 * its own crypto hook hands out pairs from a pool, which is kept in a file of the system's temporary folder for the rest
 * of the day. The pairs protect nothing but the chatter of tests.
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
  modulusLength: 4096,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
};

type Jwk = webcrypto.JsonWebKey;
type CryptoModule = Parameters<ProtocolPackage["initializeProtocol"]>[0]["cryptoModule"];

let nextPair = 0;

/** Prepares the packages once per process: everything is Node's own crypto, but for the RSA pairs. */
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

/** The next pair, round and round; made when the pool does not have it yet. */
async function takePair(): Promise<webcrypto.CryptoKeyPair> {
  const index = nextPair++ % POOL_SIZE;
  const found = readPool()[index];
  return found === undefined ? addPair() : importPair(found);
}

async function addPair(): Promise<webcrypto.CryptoKeyPair> {
  const pair = await webcrypto.subtle.generateKey(ALGORITHM, true, ["encrypt", "decrypt"]);
  const jwk = await webcrypto.subtle.exportKey("jwk", pair.privateKey);
  // Another process may have added one meanwhile: read again, so that both stay.
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
  return join(tmpdir(), `ct-edge-test-keys-${userInfo().uid}-${day}.json`);
}

/** The pairs made so far; none when there is no file, or not one of ours. */
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
  // Renamed in one step: a reader sees the old pool or the new one, never half of it.
  renameSync(fresh, poolFile());
}
