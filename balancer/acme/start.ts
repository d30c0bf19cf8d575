/** Starts the certificate of CT_ACME_DOMAINS from the settings. */
import { X509Certificate } from "node:crypto";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createLeaderElection } from "../../shared/membership/leader-election.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";
import type { Certificate } from "../certificates/certificates.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { storeNameOf } from "../discovery/store-files.ts";
import { Acme } from "./acme.ts";
import { askCa } from "./ask-ca.ts";
import { createRecordCopy } from "./record-copy.ts";
import type { Wanted } from "./schedule.ts";

/** Names of one certificate; authorities take no more. */
const MAX_DOMAINS = 100;

type AcmeSettings = Pick<
  Settings,
  "acmeDomains" | "acmeEmail" | "acmeUrl" | "acmeCa" | "acmeEab" | "workers"
>;

/** Undefined without CT_ACME_DOMAINS. Throws `SettingError`. */
export function wantedCertificate(settings: AcmeSettings): Wanted | undefined {
  const domains = [...new Set(settings.acmeDomains.map((name) => name.toLowerCase()))];
  if (domains.length === 0) return undefined;
  if (domains.length > MAX_DOMAINS) {
    throw new SettingError(
      `CT_ACME_DOMAINS has ${domains.length} names; a certificate has at most ${MAX_DOMAINS}`,
    );
  }
  if (settings.workers.length > 0) {
    throw new SettingError(
      "CT_ACME_DOMAINS needs a store, where all balancers find the certificate, and CT_WORKERS is set; set CT_REDIS_URL instead of CT_WORKERS, or CT_TLS_CERT instead of CT_ACME_DOMAINS",
    );
  }
  const [keyId, key] = settings.acmeEab?.split(":") ?? [];
  return {
    directory: settings.acmeUrl,
    domains,
    email: settings.acmeEmail,
    binding: keyId === undefined || key === undefined ? undefined : { keyId, key },
    ca: settings.acmeCa === undefined ? undefined : readRoot(settings.acmeCa),
  };
}

function readRoot(path: string): string {
  let text = "";
  try {
    text = readTextFile(path);
    // Throws for what is no certificate; TLS would not tell.
    void new X509Certificate(text);
    return text;
  } catch (error) {
    const why = text === "" ? "it cannot be read" : "it is not a PEM certificate";
    throw new SettingError(
      `CT_ACME_CA=${path}: ${why} (${describeError(error)}); name the PEM file of the authority's root`,
    );
  }
}

/** It runs from now on; `start` reads the record. Undefined when none is wanted. */
export function startAcme(deps: {
  readonly wanted: Wanted | undefined;
  readonly settings: Pick<Settings, "dataDir" | "redisUrl" | "redisPrefix">;
  readonly id: WorkerId;
  readonly discovery: Pick<Discovery, "storeAccess">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly onCertificates: (certificates: readonly Certificate[]) => void;
}): Acme | undefined {
  const { wanted, settings, id, discovery, clock, log } = deps;
  if (wanted === undefined || discovery.storeAccess === undefined) return undefined;
  const { store, acmeKeys } = discovery.storeAccess;
  const { dataDir } = settings;
  return new Acme({
    ...deps,
    wanted,
    store,
    keys: acmeKeys,
    elect: () => createLeaderElection("acme", { store, clock, log, holder: id }),
    copy: createRecordCopy({ dataDir, storeName: storeNameOf(settings), log }),
    askCa,
    random: Math.random,
  });
}
