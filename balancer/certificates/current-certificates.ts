/** The certificates of the public HTTPS port at the moment: those in files, and the one that the edge has obtained. */
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import type { Listening } from "../transport/transport.ts";
import {
  type Certificate,
  type CertificateFiles,
  type CertificateWatch,
  loadCertificates,
  signatureOf,
  warnOfExpiry,
  watchCertificates,
} from "./certificates.ts";

export interface CurrentCertificates {
  readonly files: CertificateFiles;
  /** Of the files as they were before they were loaded. */
  readonly signature: string;
  readonly inFiles: readonly Certificate[];
  /** Those in files first: they are an operator's choice. */
  readonly current: readonly Certificate[];
  use(fresh: {
    readonly inFiles?: readonly Certificate[];
    readonly obtained?: readonly Certificate[];
  }): void;
  /** Set once there are ports that use them. */
  listener: Pick<Listening, "useCertificates"> | undefined;
  watch: CertificateWatch | undefined;
}

/** Throws `SettingError`. */
export function readCertificates(
  { tlsCert, tlsKey }: Pick<Settings, "tlsCert" | "tlsKey">,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): CurrentCertificates {
  const files = { cert: tlsCert, key: tlsKey };
  const signature = signatureOf(files);
  let inFiles = loadCertificates(files);
  let obtained: readonly Certificate[] = [];
  warnOfExpiry(inFiles, clock.wallMs(), log);
  return {
    files,
    signature,
    get inFiles() {
      return inFiles;
    },
    get current() {
      return [...inFiles, ...obtained];
    },
    use(fresh) {
      inFiles = fresh.inFiles ?? inFiles;
      obtained = fresh.obtained ?? obtained;
      this.listener?.useCertificates(this.current);
    },
    listener: undefined,
    watch: undefined,
  };
}

/** Follows changes of the files since they were read, and passes all certificates to the ports. */
export function followCertificates(deps: {
  readonly certificates: CurrentCertificates;
  readonly listener: Pick<Listening, "useCertificates">;
  readonly clock: Clock;
  readonly log: Log;
}): CertificateWatch {
  const { certificates, listener, clock, log } = deps;
  certificates.listener = listener;
  certificates.watch = watchCertificates({
    files: certificates.files,
    signature: certificates.signature,
    use: (inFiles) => certificates.use({ inFiles }),
    clock,
    log,
  });
  return certificates.watch;
}
