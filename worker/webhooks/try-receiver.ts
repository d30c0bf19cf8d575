/** Sends an event to a receiver to try it out, for the command line. */

import { systemClock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import { bodyOf } from "./event-text.ts";
import { type AddressRules, parseAddressRules } from "./receiver-addresses.ts";
import type { Receiver } from "./receivers.ts";
import { readReceivers } from "./receivers-file.ts";
import { type Attempt, createSender } from "./sender.ts";

export { ReceiversError } from "./receivers-file.ts";

export interface Tried {
  readonly receiver: string;
  readonly attempt: Attempt;
  readonly tookMs: number;
}

const ID_CHARS = 24;

/** Throws `ReceiversError` and `SettingError`. */
export function readReceiversAndRules(
  path: string,
  networks: readonly string[],
): { readonly receivers: readonly Receiver[]; readonly rules: AddressRules } {
  const rules = parseAddressRules(networks);
  return { receivers: readReceivers(path, rules), rules };
}

export async function tryReceiver(
  receiver: Receiver,
  { rules, proxy }: { readonly rules: AddressRules; readonly proxy: string | undefined },
): Promise<Tried> {
  const clock = systemClock;
  const sender = createSender({ receiver, rules, proxy, connections: 1, clock });
  const id = `test-${randomAlphanumerics(ID_CHARS)}`;
  const event = { id, kind: "test", atMs: clock.wallMs(), worker: "ct-edge" };
  const beganMs = clock.nowMs();
  try {
    const attempt = await sender.send({ id, body: bodyOf(event, receiver) });
    return { receiver: receiver.name, attempt, tookMs: Math.round(clock.nowMs() - beganMs) };
  } finally {
    await sender.close();
  }
}
