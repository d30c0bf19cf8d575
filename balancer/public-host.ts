/**
 * Where the public ports listen when CT_BIND does not say it.
 */
import { errorCode } from "../shared/errors.ts";

/** Every address of the machine: one socket takes IPv6 and, as `::ffff:a.b.c.d`, IPv4. */
const ALL_ADDRESSES = "::";
const ALL_IPV4_ADDRESSES = "0.0.0.0";

/** What is wrong with the port then, not with the address. */
const PORT_ERRORS: ReadonlySet<string> = new Set(["EADDRINUSE", "EACCES"]);

/**
 * Opens a port by `open` at `bind`, or else at every address of the machine: a start that says `http://localhost` must
 * answer where that is ::1. Where IPv6 is off (`EAFNOSUPPORT`, or what a sandbox says), at every IPv4 address. Rejects as
 * `open` does.
 */
export async function openPublic<T>(
  bind: string | undefined,
  open: (host: string) => Promise<T>,
): Promise<T> {
  if (bind !== undefined) return open(bind);
  try {
    return await open(ALL_ADDRESSES);
  } catch (error) {
    if (PORT_ERRORS.has(errorCode(error) ?? "")) throw error;
    return open(ALL_IPV4_ADDRESSES);
  }
}
