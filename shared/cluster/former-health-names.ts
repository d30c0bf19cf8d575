/**
 * A worker's health as JSON of two versions has it: `status` now, `health` in the version before. For one version both are
 * written, and either is read.
 */
import { z } from "zod";

/** What a balancer thinks of a worker (balancer/upstreams/health.ts). */
type HealthStatus = "healthy" | "unhealthy" | "down";

const FORMER = { healthy: "up", unhealthy: "suspect", down: "dead" } as const;

const PRESENT = { up: "healthy", suspect: "unhealthy", dead: "down" } as const;

/** For the schema of an object that `withStatus` completes. */
export const healthFields = {
  status: z.enum(["healthy", "unhealthy", "down"]).exactOptional(),
  health: z.enum(["up", "suspect", "dead"]).exactOptional(),
};

interface Read {
  readonly status?: HealthStatus;
  readonly health?: keyof typeof PRESENT;
}

/** With `status`, whichever of the two was there; undefined when neither was. */
export function withStatus<Value extends Read>(
  value: Value,
): (Omit<Value, "status" | "health"> & { readonly status: HealthStatus }) | undefined {
  const { status, health, ...rest } = value;
  const known = status ?? (health === undefined ? undefined : PRESENT[health]);
  return known && { ...rest, status: known };
}

/** With `health` beside `status`, for readers of the version before. */
export function withFormerHealth<Value extends { readonly status: HealthStatus }>(
  value: Value,
): Value & { readonly health: (typeof FORMER)[HealthStatus] } {
  return { ...value, health: FORMER[value.status] };
}
