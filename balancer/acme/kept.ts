/** What this machine knows of the certificate that the edge obtains, for `check`, which asks no store. */
import { onlyKey } from "../../shared/settings/keyring.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import { parseCertificate } from "../certificates/certificates.ts";
import { storeNameOf } from "../discovery/store-files.ts";
import { unsealRecord } from "./record.ts";
import { createRecordCopy } from "./record-copy.ts";
import { nextOrder, type Wanted } from "./schedule.ts";
import { wantedCertificate } from "./start.ts";

type KeptSettings = Pick<Settings, "dataDir" | "redisUrl" | "redisPrefix" | "secret">;

export interface Kept {
  /** One line: until when it is valid, and when the next order is due. */
  readonly text: string;
  /** What does not work now. */
  readonly problem?: string;
  /** What soon may not. */
  readonly warning?: string;
}

/** Undefined without CT_ACME_DOMAINS, and when settings are wrong, which `check` reports apart. */
export async function findKept(
  settings: Settings,
  findSecret: () => string | undefined,
  nowMs: number,
): Promise<Kept | undefined> {
  try {
    const wanted = wantedCertificate(settings);
    return wanted && (await describeKept({ ...settings, secret: findSecret() }, wanted, nowMs));
  } catch {
    return undefined;
  }
}

export async function describeKept(
  settings: KeptSettings,
  wanted: Wanted,
  nowMs: number,
): Promise<Kept> {
  const { dataDir } = settings;
  const copy = createRecordCopy({ dataDir, storeName: storeNameOf(settings), log: undefined });
  const sealed = await copy.read();
  const { secret } = settings;
  if (sealed === undefined || secret === undefined) {
    return { text: "none on this machine yet; ct-edge certificate asks the running edge" };
  }
  const record = unsealRecord(onlyKey(deriveKeys(secret).acme), sealed);
  if (typeof record === "string") return { text: `cannot be read here: ${record}` };
  const { certificate, failure } = record;
  if (certificate === undefined) return { text: "none yet", ...warningOf(failure?.detail) };
  const { startsMs, expiresMs } = parseCertificate(certificate.cert, certificate.key);
  const lifetime = { startMs: startsMs, endMs: expiresMs };
  const { atMs } = nextOrder(record, wanted, () => lifetime, nowMs);
  const next = atMs <= nowMs ? "now" : dateOf(atMs);
  const text = `${certificate.domains.join(", ")}, until ${dateOf(expiresMs)}, next order ${next}`;
  if (certificate.renewal?.isRevoked) {
    return {
      text,
      problem:
        "the certificate of CT_ACME_DOMAINS was revoked by its authority; another one is ordered as soon as a balancer runs",
    };
  }
  return { text, ...warningOf(failure?.detail) };
}

function warningOf(detail: string | undefined): Pick<Kept, "warning"> {
  return detail === undefined
    ? {}
    : { warning: `the last order of the certificate of CT_ACME_DOMAINS failed: ${detail}` };
}

/** To the minute: some certificates last for hours. */
function dateOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}
