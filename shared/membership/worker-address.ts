/**
 * The address at which others reach this process: a setting, or the local address of its connection to the store. Pure.
 */
import { isIPv6 } from "node:net";
import { hostOf, isLoopback, isUnusable, isWildcard, urlHost } from "../net/networks.ts";
import { SettingError } from "../settings/read-settings.ts";
import { FIRST_WORKER_PORT, isOnThisMachine } from "./member-verification.ts";

const LOOPBACK = "127.0.0.1";

/** Where a process listens. `localAddress`: see `Store`. */
export interface Place {
  readonly bind: string;
  readonly port: number;
  readonly localAddress: string | undefined;
}

/** The default bind address: with a store on another machine, other processes are on other machines too. */
export function defaultBind(isStoreLocal: boolean): string {
  return isStoreLocal ? LOOPBACK : "0.0.0.0";
}

/** The URL at which others reach `place`. */
export function reachableUrl({ bind, port, localAddress }: Place): string {
  const host = isWildcard(bind) ? (localAddress ?? LOOPBACK) : bind;
  return `http://${urlHost(host)}:${port}`;
}

/** The worker's URL for balancers. Throws `SettingError` when balancers could not call it, or would refuse to. */
export function workerUrl(place: Place & { readonly workerUrl: string | undefined }): string {
  if (place.workerUrl === undefined) return checkedUrl("CT_WORKER_BIND", place);
  const setting = `CT_WORKER_URL=${place.workerUrl}`;
  return checkHost(setting, checkPort(setting, place.workerUrl), place);
}

/** The URL for health probes. Throws `SettingError` as `workerUrl` does. */
export function workerStatusUrl(place: Place): string {
  return checkedUrl("CT_STATUS_BIND", place);
}

function checkedUrl(name: "CT_WORKER_BIND" | "CT_STATUS_BIND", place: Place): string {
  const setting = `${name}=${place.bind}`;
  const url = checkHost(setting, checkPort(setting, reachableUrl(place)), place);
  if (place.bind === "0.0.0.0" && isIPv6(hostOf(new URL(url)))) {
    throw new SettingError(
      `${setting}: the store is reached over IPv6, but this address accepts IPv4 only; set ${name}=::`,
    );
  }
  return url;
}

function checkPort(setting: string, url: string): string {
  if (!URL.canParse(url)) {
    throw new SettingError(`${setting} is not allowed; use http://host:port without a path`);
  }
  if (Number(new URL(url).port) >= FIRST_WORKER_PORT) return url;
  throw new SettingError(
    `${setting}: balancers do not call a worker at a port below ${FIRST_WORKER_PORT} (${url}); use a higher one`,
  );
}

function checkHost(setting: string, url: string, place: Place): string {
  const host = hostOf(new URL(url));
  if (isLoopback(host) && !isOnThisMachine(place.localAddress)) {
    const better = reachableUrl({ ...place, bind: "0.0.0.0" });
    throw new SettingError(
      `${setting}: the store is on another machine, where balancers cannot reach a loopback address; ` +
        `set an address that they can reach (${better} is how this machine reaches the store)`,
    );
  }
  if (isUnusable(host)) {
    throw new SettingError(
      `${setting}: no balancer can reach ${host}; set an address that they can reach`,
    );
  }
  return url;
}
