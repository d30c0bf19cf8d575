/**
 * A copy of the encrypted record on this machine, so that a balancer that starts while the store is away has its certificate, and
 * for `check`.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { oneFlight } from "../../shared/base/one-flight.ts";
import { replaceFile } from "../../shared/base/replace-file.ts";
import type { Log } from "../../shared/logs/log.ts";
import { prepareDataDir } from "../../shared/store/embedded/data-dir.ts";
import { storeFileName } from "../discovery/store-files.ts";

export interface RecordCopy {
  /** Undefined: there is none. Never rejects. */
  read(): Promise<string | undefined>;
  /** Never rejects. The first of several failures is logged. */
  write(sealed: string): Promise<void>;
}

/** `storeName`: of this edge's store (`storeNameOf`). */
export function createRecordCopy(deps: {
  readonly dataDir: string;
  readonly storeName: string;
  /** Undefined: failures are not logged. */
  readonly log: Log | undefined;
}): RecordCopy {
  const name = storeFileName(deps.storeName, "acme");
  let isFailing = false;
  /** What is to be written when the write under way is over. */
  let next: string | undefined;

  const writeAll = oneFlight(async () => {
    while (next !== undefined) {
      const sealed = next;
      next = undefined;
      try {
        await replaceFile(join(prepareDataDir(deps.dataDir), name), [sealed]);
        isFailing = false;
      } catch (error) {
        warn(error);
      }
    }
  });

  function warn(error: unknown): void {
    if (!isFailing) {
      deps.log?.warn(
        { cause: describeError(error) },
        "the certificate cannot be kept on this machine, so a balancer that starts while the store is away has none; check CT_DATA_DIR and its disk",
      );
    }
    isFailing = true;
  }

  return {
    async read() {
      try {
        return await readFile(join(deps.dataDir, name), "utf8");
      } catch (error) {
        if (errorCode(error) !== "ENOENT") warn(error);
        return undefined;
      }
    },
    write(sealed) {
      next = sealed;
      return writeAll();
    },
  };
}
