/**
 * Whether new sessions may begin, by the licence: it must be the issuer's, of today, and have room for one more. What runs
 * goes on whatever it says.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { judgeLicense } from "../../shared/settings/license.ts";
import type { FoundLicense } from "../../shared/settings/license-file.ts";

export interface LicenseCheck {
  /** Why no new session may begin now, for the person who tried; undefined when one may. */
  refusal(): string | undefined;
}

/**
 * `people`: in sessions now, in the whole edge, as far as this worker knows; others say so once a second, so a rush may
 * go beyond the limit by those who came within it.
 */
export function createLicenseCheck(deps: {
  readonly found: FoundLicense;
  readonly connections: () => number;
  readonly clock: Clock;
}): LicenseCheck {
  const { license, publicKey } = deps.found;
  return {
    refusal() {
      const standing = judgeLicense(license, publicKey, deps.clock.wallMs());
      switch (standing.state) {
        case "community":
          return undefined;
        case "forged":
          return "The license of this server is not valid; ask its operator";
        case "expired":
          return `The license of this server has expired (${standing.license.expiration}); ask its operator`;
        case "valid": {
          const { maxConnections } = standing.license;
          return deps.connections() < maxConnections
            ? undefined
            : `All ${maxConnections} connections of this server's license are in use; try again later`;
        }
      }
    },
  };
}
