/**
 * What simulated processes are given by the world, and the secret that they share.
 */
import { deriveKeys } from "../../shared/settings/secret.ts";
import type { Kernel } from "./kernel.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { StoreHost } from "./store.ts";
import type { Watch } from "./watch.ts";

export interface Surroundings {
  readonly kernel: Kernel;
  readonly network: Network;
  readonly stores: StoreHost;
  readonly watch: Watch;
  readonly random: Random;
}

export const SECRET = "the secret of a simulated edge, nowhere else";
export const KEYS = deriveKeys(SECRET);
