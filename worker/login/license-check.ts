/**
 * Whether the license allows a new session: it must be signed by the issuer, not expired, and have a connection left. Open
 * sessions are never affected.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { judgeLicense } from "../../shared/settings/license.ts";
import type { FoundLicense } from "../../shared/settings/license-file.ts";

export type LicenseCheck = ReturnType<typeof createLicenseCheck>;

/**
 * `connections`: of the whole edge, as far as this worker knows. Other workers report theirs once a second, so a rush may
 * exceed the limit by the connections of that second.
 */
export function createLicenseCheck(deps: {
  readonly found: FoundLicense;
  readonly connections: () => number;
  readonly clock: Clock;
}) {
  const { license, publicKey } = deps.found;
  return {
    /** Why no new session may begin now, as shown to the user; undefined when one may. */
    refusal(): string | undefined {
      const verdict = judgeLicense(license, publicKey, deps.clock.wallMs());
      switch (verdict.state) {
        case "community":
          return undefined;
        case "forged":
          return "The license of this server is not valid; contact its operator";
        case "expired":
          return `The license of this server has expired (${verdict.license.expiration}); contact its operator`;
        case "valid": {
          const { maxConnections } = verdict.license;
          return deps.connections() < maxConnections
            ? undefined
            : `All ${maxConnections} connections of this server's license are in use; try again later`;
        }
      }
    },
  };
}
