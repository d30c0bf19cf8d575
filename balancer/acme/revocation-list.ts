/** Whether a certificate is in the list of revoked ones that its authority publishes (RFC 5280 §5). */
import {
  CRLDistributionPointsExtension,
  PemConverter,
  X509Certificate,
  X509Crl,
} from "@peculiar/x509";
import type { CaRequests } from "./ca-requests.ts";

/** False too when there is no list, or none that can be read and verified: then nothing is known. */
export async function isRevoked(
  chain: string,
  requests: Pick<CaRequests, "get">,
): Promise<boolean> {
  const [own, issuer] = PemConverter.decode(chain).map((bytes) => new X509Certificate(bytes));
  if (own === undefined || issuer === undefined) return false;
  for (const url of listsOf(own)) {
    try {
      const { body } = await requests.get(url);
      const list = new X509Crl(body);
      if (!(await list.verify({ publicKey: issuer }))) continue;
      if (list.findRevoked(own.serialNumber) !== null) return true;
    } catch {
      // Unreachable, or no list.
    }
  }
  return false;
}

function listsOf(certificate: X509Certificate): string[] {
  const points = certificate.getExtension(CRLDistributionPointsExtension)?.distributionPoints ?? [];
  return points
    .flatMap(({ distributionPoint }) => distributionPoint?.fullName ?? [])
    .flatMap(({ uniformResourceIdentifier }) => uniformResourceIdentifier ?? [])
    .filter((url) => /^https?:\/\//.test(url));
}
