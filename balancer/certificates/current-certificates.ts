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

export class CurrentCertificates {
  readonly #files: CertificateFiles;
  /** Of the files as they were before they were loaded. */
  readonly #signature: string;
  readonly #deps: { readonly clock: Clock; readonly log: Log };
  #inFiles: readonly Certificate[];
  #obtained: readonly Certificate[] = [];
  /** Undefined before there are ports that use them. */
  #listener: Pick<Listening, "useCertificates"> | undefined;
  #watch: CertificateWatch | undefined;

  /** Throws `SettingError`. */
  constructor(
    { tlsCert, tlsKey }: Pick<Settings, "tlsCert" | "tlsKey">,
    deps: { readonly clock: Clock; readonly log: Log },
  ) {
    this.#deps = deps;
    this.#files = { cert: tlsCert, key: tlsKey };
    this.#signature = signatureOf(this.#files);
    this.#inFiles = loadCertificates(this.#files);
    warnOfExpiry(this.#inFiles, deps.clock.wallMs(), deps.log);
  }

  get inFiles(): readonly Certificate[] {
    return this.#inFiles;
  }

  /** Those in files first: they are an operator's choice. */
  get current(): readonly Certificate[] {
    return [...this.#inFiles, ...this.#obtained];
  }

  useObtained(certificates: readonly Certificate[]): void {
    this.#obtained = certificates;
    this.#listener?.useCertificates(this.current);
  }

  /** Follows changes of the files since they were read, and passes all certificates to the ports. */
  follow(listener: Pick<Listening, "useCertificates">): CertificateWatch {
    this.#listener = listener;
    this.#watch = watchCertificates({
      ...this.#deps,
      files: this.#files,
      signature: this.#signature,
      use: (inFiles) => {
        this.#inFiles = inFiles;
        listener.useCertificates(this.current);
      },
    });
    return this.#watch;
  }

  reloadFiles(): void {
    if (this.#inFiles.length > 0) this.#watch?.reload();
  }
}
