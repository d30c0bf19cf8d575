import { isWorkerId } from "../../shared/base/ids.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";

/**
 * The id of the worker at `index`. With a shared store it contains the name of the machine, to be unique among all machines.
 * Throws `SettingError` when that is not a valid id.
 */
export function workerName(
  { redisUrl, workerId }: Pick<Settings, "redisUrl" | "workerId">,
  hostName: string,
  index: number,
): string {
  if (redisUrl === undefined) return `worker-${index + 1}`;
  const id = `${workerId ?? hostName}-${index + 1}`;
  if (isWorkerId(id)) return id;
  throw new SettingError(
    workerId === undefined
      ? `CT_WORKER_ID is not set, and the host name ${JSON.stringify(hostName)} cannot be used instead; set it to 1 to 61 characters of A-Z a-z 0-9 . _ -`
      : `CT_WORKER_ID=${JSON.stringify(workerId)} is too long for the number of a worker after it; use 1 to 61 characters`,
  );
}
