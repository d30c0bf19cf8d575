/** Certificates for tests. */
import { generate } from "selfsigned";

export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

/** Self-signed, with a key on an elliptic curve, which takes 1 ms where RSA takes 100; the first name is the subject too. */
export async function makeCertificate(
  options: {
    readonly names?: readonly string[];
    readonly addresses?: readonly string[];
    readonly from?: Date;
    readonly until?: Date;
    readonly isAuthority?: boolean;
  } = {},
): Promise<PemPair> {
  const { names = ["localhost"], addresses = [], isAuthority = false } = options;
  const altNames = [
    ...names.map((value) => ({ type: 2 as const, value })),
    ...addresses.map((ip) => ({ type: 7 as const, ip })),
  ];
  const subject = names[0] ?? addresses[0] ?? "";
  const { cert, private: key } = await generate([{ name: "commonName", value: subject }], {
    keyType: "ec",
    ...(options.from && { notBeforeDate: options.from }),
    ...(options.until && { notAfterDate: options.until }),
    extensions: [
      ...(isAuthority ? [{ name: "basicConstraints" as const, cA: true }] : []),
      { name: "subjectAltName", altNames },
    ],
  });
  return { cert, key };
}
