/** What a fake authority signs: certificates, and the list of revoked ones. */
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  CRLDistributionPointsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type PublicKeyType,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const ISSUER = "CN=Fake Root";
const HOUR_MS = 3_600_000;

export interface Issued {
  /** PEM, with the root. */
  readonly chain: string;
  /** The bytes of its number, in hexadecimal. */
  readonly serial: string;
  /** Its name in renewal information and in `replaces` (RFC 9773 §4.1). */
  readonly id: string;
}

export interface Issuer {
  /** PEM. */
  readonly root: string;
  /** `listUrl`: of the list of revoked ones; undefined: it names none. */
  issue(names: readonly string[], key: PublicKeyType, listUrl?: string): Promise<Issued>;
  /** For the port of the authority itself. PEM. */
  issueForServer(isExpired: boolean): Promise<{ readonly cert: string; readonly key: string }>;
  /** DER. */
  revocationList(serials: Iterable<string>): Promise<Buffer>;
}

/** All have one name, and each has a key of its own. */
export async function createIssuer(): Promise<Issuer> {
  const keys = await generateKeys();
  const keyIdOfRoot = await SubjectKeyIdentifierExtension.create(keys.publicKey);
  const root = await X509CertificateGenerator.createSelfSigned({
    name: ISSUER,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      keyIdOfRoot,
    ],
  });

  async function sign(
    names: readonly string[],
    publicKey: PublicKeyType,
    endMs: number,
    more: readonly Extension[] = [],
  ): Promise<Issued> {
    const serial = newSerial();
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial,
      issuer: ISSUER,
      subject: `CN=${names[0]}`,
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 2 * HOUR_MS),
      notAfter: new Date(endMs),
      extensions: [
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
        new SubjectAlternativeNameExtension(names.map(nameOf)),
        ...more,
      ],
    });
    const id = [keyIdOfRoot.keyId, serial].map((hex) => Buffer.from(hex, "hex"));
    return {
      chain: `${certificate.toString("pem")}\n${root.toString("pem")}\n`,
      serial,
      id: id.map((bytes) => bytes.toString("base64url")).join("."),
    };
  }

  return {
    root: root.toString("pem"),
    issue: (names, key, listUrl) =>
      sign(
        names,
        key,
        Date.now() + 90 * 24 * HOUR_MS,
        listUrl === undefined ? [] : [new CRLDistributionPointsExtension([listUrl])],
      ),
    async issueForServer(isExpired) {
      const own = await generateKeys();
      const endMs = Date.now() + (isExpired ? -HOUR_MS : HOUR_MS);
      const { chain } = await sign(["127.0.0.1"], own.publicKey, endMs);
      const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", own.privateKey));
      const lines = `-----BEGIN PRIVATE KEY-----\n${key.toString("base64")}\n-----END PRIVATE KEY-----\n`;
      return { cert: chain, key: lines };
    },
    async revocationList(serials) {
      const list = await X509CrlGenerator.create({
        issuer: ISSUER,
        // Required (RFC 5280 §5.1.2.5); without it, our parser finds no entries.
        nextUpdate: new Date(Date.now() + HOUR_MS),
        entries: [...serials].map((serialNumber) => ({ serialNumber })),
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
      });
      return Buffer.from(list.rawData);
    },
  };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

/** Begins with a 1 bit, so that a certificate has a zero before it: programs leave that out at will. */
function newSerial(): string {
  return `00ff${randomBytes(14).toString("hex")}`;
}

function nameOf(value: string): { readonly type: "ip" | "dns"; readonly value: string } {
  return { type: isIP(value) > 0 ? "ip" : "dns", value };
}
