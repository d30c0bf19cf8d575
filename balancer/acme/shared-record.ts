/** The record as this balancer knows it: followed in the store, and written there by the one that leads. */
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { createRegister, type Register } from "../../shared/store/register.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import { type AcmeRecord, sealRecord, type Unreadable, unsealRecord } from "./record.ts";
import type { RecordCopy } from "./record-copy.ts";

/** How often a balancer looks whether the store still has the record; also when the store comes back. */
const VERIFY_MS = 60_000;

interface Deps {
  readonly store: Store;
  readonly keys: PurposeKeys;
  /** Undefined: none is kept. */
  readonly copy: RecordCopy | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with each record that is current from now on. */
  readonly onRecord: (record: AcmeRecord) => void;
}

/** What is to follow the record as it is now; undefined: it stays. */
export type Change = (current: AcmeRecord) => AcmeRecord | undefined;

export class SharedRecord {
  readonly #deps: Deps;
  readonly #register: Register;
  readonly #stopHealth: () => void;
  #current: AcmeRecord = {};
  /** As it was read from the store, or written there, last. */
  #sealed: string | undefined;
  /** Whether the store lacks something of `#current`. */
  #isUnsaved = false;
  #unreadable: Unreadable | undefined;
  /** On the monotonic clock. */
  #verifiedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#register = createRegister("acme", deps.store);
    this.#stopHealth = deps.store.onHealth(() => {
      // It may have come back empty.
      this.#verifiedMs = Number.NEGATIVE_INFINITY;
    });
  }

  get current(): AcmeRecord {
    return this.#current;
  }

  /** Why the store's record cannot be read; undefined when it can. */
  get unreadable(): Unreadable | undefined {
    return this.#unreadable;
  }

  /** Reads what others have written, and writes what the store lacks. */
  async follow(): Promise<void> {
    this.#take(await this.#register.poll());
    if (this.#isUnsaved || (await this.#isLost())) await this.#write(this.#current);
  }

  /** Uses the copy of this machine, if nothing has been read from the store. Never rejects. */
  async useCopy(): Promise<void> {
    if (this.#sealed !== undefined) return;
    const kept = await this.#deps.copy?.read();
    // The store may have responded meanwhile.
    if (kept !== undefined && this.#sealed === undefined) this.#use(kept);
  }

  /** Changes the record as it is in the store now. Rejects while the store is away. */
  async update(change: Change): Promise<void> {
    this.#take({ text: await this.#register.read() });
    const next = change(this.#current);
    if (next !== undefined) await this.#write(next);
  }

  /** As `update`; while the store is away, the change is made here, and written later. */
  async updateOrDefer(change: Change): Promise<void> {
    try {
      await this.update(change);
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      const next = change(this.#current);
      if (next === undefined) return;
      this.#isUnsaved = true;
      this.#setCurrent(next);
      void this.#deps.copy?.write(sealRecord(this.#deps.keys, next));
    }
  }

  close(): void {
    this.#stopHealth();
  }

  /**
   * Whether the store has lost the record. A store that comes back empty elects no leader for some seconds, in which any balancer
   * writes the record again: the next leader may not know it.
   */
  async #isLost(): Promise<boolean> {
    const { clock } = this.#deps;
    if (this.#sealed === undefined || clock.nowMs() - this.#verifiedMs < VERIFY_MS) return false;
    const isLost = await this.#register.isEmpty();
    this.#verifiedMs = clock.nowMs();
    return isLost;
  }

  async #write(record: AcmeRecord): Promise<void> {
    const sealed = sealRecord(this.#deps.keys, record);
    await this.#register.write(sealed);
    this.#isUnsaved = false;
    this.#unreadable = undefined;
    this.#sealed = sealed;
    this.#setCurrent(record);
    void this.#deps.copy?.write(sealed);
  }

  #take(found: { readonly text: string | undefined } | undefined): void {
    if (found?.text !== undefined && found.text !== this.#sealed) this.#use(found.text);
  }

  #use(sealed: string): void {
    const { keys, log, copy } = this.#deps;
    const record = unsealRecord(keys, sealed);
    if (typeof record === "string") {
      if (this.#unreadable !== record) log.error({}, UNREADABLE[record]);
      this.#unreadable = record;
      return;
    }
    this.#unreadable = undefined;
    this.#sealed = sealed;
    // Written by one that did not know the newest certificate: its store, or its copy, was an old one.
    const isStale = orderedMs(record) < orderedMs(this.#current);
    const { certificate = record.certificate } = isStale ? this.#current : {};
    this.#isUnsaved = isStale;
    this.#setCurrent(certificate === undefined ? record : { ...record, certificate });
    if (!isStale) void copy?.write(sealed);
  }

  #setCurrent(record: AcmeRecord): void {
    this.#current = record;
    this.#deps.onRecord(record);
  }
}

function orderedMs({ certificate }: AcmeRecord): number {
  return certificate?.orderedMs ?? Number.NEGATIVE_INFINITY;
}

export const UNREADABLE: Readonly<Record<Unreadable, string>> = {
  "other secret":
    "the certificate in the store was made with another secret; set CT_SECRET as on the other balancers, or CT_SECRET_PREVIOUS to the secret before; to start over, use ct-edge certificate --renew",
  damaged:
    "the certificate in the store is damaged, or of a newer version; use the version that has written it, or ct-edge certificate --renew to replace it",
};
