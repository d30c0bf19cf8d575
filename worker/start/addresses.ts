/**
 * Where others reach this worker: known when its ports are open and the store, whose connection has our address, was
 * reached.
 */
import { workerStatusUrl, workerUrl } from "../../shared/membership/worker-address.ts";
import type { PortOptions } from "./options.ts";

export interface Addresses {
  /** Empty texts until `resolve`. */
  readonly urls: { readonly url: string; readonly statusUrl: string };
  /** Throws `SettingError` when others could not reach this worker there. */
  resolve(found: {
    readonly port: number;
    readonly statusPort: number;
    readonly localAddress: string | undefined;
  }): void;
}

export function createAddresses({ bind, statusBind, workerUrl: chosen }: PortOptions): Addresses {
  let urls = { url: "", statusUrl: "" };
  return {
    get urls() {
      return urls;
    },
    resolve({ port, statusPort, localAddress }) {
      urls = {
        url: workerUrl({ workerUrl: chosen, bind, port, localAddress }),
        statusUrl: workerStatusUrl({ bind: statusBind, port: statusPort, localAddress }),
      };
    },
  };
}
