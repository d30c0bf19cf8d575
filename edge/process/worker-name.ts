import { isWorkerId } from "../../shared/base/ids.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";

/**
 * The id of the worker at `index`. With a store of its own an edge knows all workers; those of a shared one have the name of
 * the machine in it. Throws `SettingError` when that cannot be an id.
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
      ? `CT_WORKER_ID is not set, and the host name ${JSON.stringify(hostName)} cannot stand for it; set it to 1 to 61 of A-Z a-z 0-9 . _ -`
      : `CT_WORKER_ID=${JSON.stringify(workerId)} leaves no room for the number of a worker; use 1 to 61 characters`,
  );
}
