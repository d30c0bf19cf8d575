/**
 * Defaults of the one-machine edge, and checks of several settings together. Pure.
 */
import { STATUS_PORT_DISTANCE } from "../../shared/net/ports.ts";
import { checkSecrets } from "../../shared/settings/keyring.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { MAX_WORKERS } from "../control/control.ts";
import { workerName } from "../process/worker-name.ts";

/** Sign-in works without further set-up on one machine; the summary says so. */
export const EDGE_DEFAULTS: Partial<Settings> = { loginSimple: true };

/** Throws `SettingError`. */
export function checkEdgeSettings(
  settings: Pick<
    Settings,
    | "workerPort"
    | "workerCount"
    | "tlsCert"
    | "tlsKey"
    | "redisUrl"
    | "secret"
    | "secretPrevious"
    | "workerId"
  >,
  hostName: string,
): void {
  checkPorts(settings);
  checkSecrets(settings);
  if (settings.redisUrl !== undefined && settings.secret === undefined) {
    throw new SettingError(
      "CT_REDIS_URL is set without CT_SECRET; all processes that share a Redis need the same secret, for example from `openssl rand -base64 48`",
    );
  }
  workerName(settings, hostName, MAX_WORKERS - 1);
  if ((settings.tlsCert.length === 0) === (settings.tlsKey.length === 0)) return;
  const [set, missing] =
    settings.tlsCert.length === 0 ? ["CT_TLS_KEY", "CT_TLS_CERT"] : ["CT_TLS_CERT", "CT_TLS_KEY"];
  throw new SettingError(
    `${set} is set without ${missing}; set both, or neither for a self-signed certificate`,
  );
}

/** Throws `SettingError` when the ports of all workers do not fit below 65536. */
export function checkPorts(settings: Pick<Settings, "workerPort" | "workerCount">): void {
  const lastPort = settings.workerPort + settings.workerCount - 1 + STATUS_PORT_DISTANCE;
  if (lastPort <= 65_535) return;
  throw new SettingError(
    `CT_WORKER_PORT=${settings.workerPort}: ${settings.workerCount} workers and their status ports do not fit below 65536; use a lower port`,
  );
}
