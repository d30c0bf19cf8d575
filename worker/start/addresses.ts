/**
 * Where others reach this worker: known when its ports are open and the store, whose connection has our address, was
 * reached.
 */
import { workerStatusUrl, workerUrl } from "../../shared/membership/worker-address.ts";
import type { PortOptions } from "./options.ts";

export type Addresses = ReturnType<typeof createAddresses>;

export function createAddresses({ bind, statusBind, workerUrl: chosen }: PortOptions) {
  let urls = { url: "", statusUrl: "" };
  return {
    /** Empty texts until `resolve`. */
    get urls(): { readonly url: string; readonly statusUrl: string } {
      return urls;
    },
    /** Throws `SettingError` when others could not reach this worker there. */
    resolve({
      port,
      statusPort,
      localAddress,
    }: {
      readonly port: number;
      readonly statusPort: number;
      readonly localAddress: string | undefined;
    }): void {
      urls = {
        url: workerUrl({ workerUrl: chosen, bind, port, localAddress }),
        statusUrl: workerStatusUrl({ bind: statusBind, port: statusPort, localAddress }),
      };
    },
  };
}
