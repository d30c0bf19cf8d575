/**
 * Where the public ports listen: at CT_BIND, or at every address of the machine.
 */

import { createServer } from "node:net";
import { errorCode } from "../../shared/base/errors.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";

/** Every address of the machine: one socket takes IPv6 and, as `::ffff:a.b.c.d`, IPv4. */
const ALL_ADDRESSES = "::";
const ALL_IPV4_ADDRESSES = "0.0.0.0";

/** Errors about the port, not the address. */
const PORT_ERRORS: ReadonlySet<string> = new Set(["EADDRINUSE", "EACCES"]);
/** Errors about an address that was configured. */
const ADDRESS_ERRORS: ReadonlySet<string> = new Set([
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
  "EINVAL",
  "ENOTFOUND",
]);

/**
 * Calls `open` with the address to listen on: `bind` (CT_BIND), or every address of the machine. Rejects as `open` does,
 * and with a `SettingError` when the machine does not have the address.
 */
export async function openPublic<T>(
  bind: string | undefined,
  open: (host: string) => Promise<T>,
): Promise<T> {
  if (bind === undefined) return openEverywhere(open);
  try {
    return await open(bind);
  } catch (error) {
    const code = errorCode(error) ?? "";
    if (!ADDRESS_ERRORS.has(code)) throw error;
    throw new SettingError(
      `CT_BIND=${bind}: this machine does not have that address (${code}); name one that it has, or leave CT_BIND out`,
      { cause: error },
    );
  }
}

/**
 * At every address of the machine, because `http://localhost`, which the start prints, must work where that is ::1. Where
 * IPv6 is off (`EAFNOSUPPORT`, or another error in a sandbox), at every IPv4 address.
 */
export async function openEverywhere<T>(open: (host: string) => Promise<T>): Promise<T> {
  try {
    return await open(ALL_ADDRESSES);
  } catch (error) {
    if (PORT_ERRORS.has(errorCode(error) ?? "")) throw error;
    return open(ALL_IPV4_ADDRESSES);
  }
}

/** Holds a port until `release`, which resolves when it is free again. Rejects with the system's error. */
export function reservePort(
  host: string,
  port: number,
): Promise<{ readonly port: number; release(): Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : port,
        release: () => new Promise((released) => server.close(() => released())),
      });
    });
  });
}
