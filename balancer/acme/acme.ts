/**
 * The certificate that the edge obtains itself (CT_ACME_DOMAINS): every balancer follows the record in the store and serves its
 * certificate; one leads, and orders and renews it.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import { type PeriodicTask, startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import { type Certificate, describe, parseCertificate } from "../certificates/certificates.ts";
import type { CaFailure, CaJob, CaResult, CaStep, OrderResult } from "./ca-protocol.ts";
import { Challenges } from "./challenges.ts";
import type { AcmeRecord, Failure, IssuedCertificate } from "./record.ts";
import type { RecordCopy } from "./record-copy.ts";
import {
  chooseRenewal,
  type Due,
  digestOf,
  isFor,
  type Lifetime,
  mayOrder,
  nextCheckMs,
  nextOrder,
  type OrderReason,
  retryDelayMs,
  type Wanted,
} from "./schedule.ts";
import { SharedRecord, UNREADABLE } from "./shared-record.ts";

/** How often the record is looked at: with what an operation may be deferred, a new certificate is in use within 4 s. */
const PERIOD_MS = 2000;
/** How long the start waits for the store. */
const FIRST_READ_MS = 1000;
/** How far this machine's clock may be from the store's. */
const MAX_CLOCK_ERROR_MS = 3_600_000;
const USUAL_LIFETIME_MS = 90 * 86_400_000;
/** After the store was away during an order. */
const AGAIN_MS = 30_000;

/** `too soon`: after failures, for what authorities allow. */
type RenewalRefusal = "not leading" | "busy" | "too soon";

/** Times are wall time in ms. */
interface AcmeStatus {
  readonly domains: readonly string[];
  /** Since when it is valid; undefined while there is none, as the next. */
  readonly issuedMs: number | undefined;
  readonly expiresMs: number | undefined;
  /** When the next order is due. */
  readonly nextMs: number;
  readonly isRevoked: boolean;
  /** Orders that failed, one after the other. */
  readonly failures: number;
  /** Why the last one failed, or why the record cannot be read; undefined: neither. */
  readonly problem: string | undefined;
}

interface Deps {
  readonly wanted: Wanted;
  readonly store: Store;
  readonly keys: PurposeKeys;
  readonly elect: () => LeaderElection;
  /** Undefined: none is kept. */
  readonly copy: RecordCopy | undefined;
  readonly askCa: (
    job: CaJob,
    takeStep: (step: CaStep) => Promise<void>,
    signal: AbortSignal,
  ) => Promise<CaResult>;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Log;
  readonly counters: Counters;
  /** Called whenever there is another certificate. */
  readonly onCertificates: (certificates: readonly Certificate[]) => void;
}

/** This balancer has lost the lead in the middle of a job: the next leader goes on. */
class NotLeadingError extends Error {}

export class Acme {
  readonly challenges: Challenges;
  readonly #deps: Deps;
  readonly #shared: SharedRecord;
  readonly #stopping = new AbortController();
  readonly #following: PeriodicTask;
  /** Undefined before it takes part. */
  #leadership: LeaderElection | undefined;
  #certificates: readonly Certificate[] = [];
  #job: Promise<void> | undefined;
  #isRequested = false;
  /** On the monotonic clock. */
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.challenges = new Challenges(deps);
    this.#shared = new SharedRecord({ ...deps, onRecord: (record) => this.#serve(record) });
    const { counters, clock, log } = deps;
    const report = reportUnlessAway(log, `the shared certificate cannot be followed; ${REPORT}`);
    this.#following = startPeriodicTask({
      clock,
      periodMs: PERIOD_MS,
      work: () => this.#followAndLead(),
      onError: (error) => {
        if (!this.#stopping.signal.aborted) report(error);
      },
    });
    counters.gauge("balancer.acme.failures", () => {
      const { failures, problem } = this.status;
      return Math.max(failures, problem === undefined ? 0 : 1);
    });
    counters.gauge("balancer.acme.revoked", () => (this.status.isRevoked ? 1 : 0));
    counters.gauge("balancer.acme.expires_in_ms", () => {
      const { expiresMs } = this.status;
      return expiresMs === undefined ? undefined : Math.max(0, expiresMs - clock.wallMs());
    });
    counters.gauge("balancer.acme.next_order_in_ms", () =>
      Math.max(0, this.status.nextMs - clock.wallMs()),
    );
  }

  /** At most one. */
  get certificates(): readonly Certificate[] {
    return this.#certificates;
  }

  get status(): AcmeStatus {
    const { certificate, failure } = this.#shared.current;
    const { unreadable } = this.#shared;
    const [served] = this.#certificates;
    return {
      domains: this.#deps.wanted.domains,
      issuedMs: served?.startsMs,
      expiresMs: served?.expiresMs,
      nextMs: this.#dueAt(this.#deps.clock.wallMs()).atMs,
      isRevoked: certificate?.renewal?.isRevoked === true,
      failures: failure?.count ?? 0,
      problem: unreadable === undefined ? failure?.detail : UNREADABLE[unreadable],
    };
  }

  /** Reads the record for the first time, from the store, or from this machine while that is away. */
  async start(): Promise<void> {
    await Promise.race([this.#following.run(), sleep(this.#deps.clock, FIRST_READ_MS)]);
    await this.#shared.useCopy();
  }

  /** Takes part in the election of the one that orders: once the ports are open, where the authority asks. */
  join(): void {
    this.#leadership ??= this.#deps.elect();
  }

  /** Orders a new certificate now. The reason why not; undefined: it is ordered. */
  renew(): RenewalRefusal | undefined {
    if (!this.#isLeading) return "not leading";
    if (this.#job !== undefined) return "busy";
    if (!mayOrder(this.#shared.current.failure, this.#deps.clock.wallMs())) return "too soon";
    this.#isRequested = true;
    void this.#following.run();
    return undefined;
  }

  async close(): Promise<void> {
    this.#following.close();
    this.#shared.close();
    this.#stopping.abort(new NotLeadingError());
    await this.#job;
    await this.#leadership?.close();
  }

  get #isLeading(): boolean {
    return this.#leadership?.isLeading === true && !this.#stopping.signal.aborted;
  }

  async #followAndLead(): Promise<void> {
    await this.#shared.follow();
    if (this.#isLeading) await this.#lead();
    else this.#isRequested = false;
  }

  #serve({ certificate }: AcmeRecord): void {
    const { log, onCertificates } = this.#deps;
    if (certificate === undefined || certificate.cert === this.#certificates[0]?.cert) return;
    try {
      this.#certificates = [parseCertificate(certificate.cert, certificate.key)];
    } catch (err) {
      log.error({ err }, `a new certificate cannot be used; the one before stays; ${REPORT}`);
      return;
    }
    log.info({ certificates: this.#certificates.map(describe) }, "certificate in use");
    onCertificates(this.#certificates);
  }

  #dueAt(nowMs: number): Due {
    const lifetimeOf = (certificate: IssuedCertificate): Lifetime => this.#lifetimeOf(certificate);
    return nextOrder(this.#shared.current, this.#deps.wanted, lifetimeOf, nowMs);
  }

  #lifetimeOf({ cert, orderedMs }: IssuedCertificate): Lifetime {
    const [served] = this.#certificates;
    if (served?.cert === cert) return { startMs: served.startsMs, endMs: served.expiresMs };
    // It cannot be used, which was logged. Ordered as if it could be, so that there is no loop.
    return { startMs: orderedMs, endMs: orderedMs + USUAL_LIFETIME_MS };
  }

  // --- the leader ---

  async #lead(): Promise<void> {
    const { store, clock } = this.#deps;
    if (this.#job !== undefined || clock.nowMs() < this.#notBeforeMs) return;
    // Made with another secret, it is perhaps the good one: only an operator replaces it.
    if (this.#shared.unreadable !== undefined && !this.#isRequested) return;
    const { certificate } = this.#shared.current;
    const checkMs = certificate === undefined ? Infinity : (certificate.renewal?.nextCheckMs ?? 0);
    const isNear = (atMs: number): boolean => atMs <= clock.wallMs() + MAX_CLOCK_ERROR_MS;
    // The store's time counts, and is asked only when it matters.
    if (!this.#isRequested && !isNear(this.#dueAt(clock.wallMs()).atMs) && !isNear(checkMs)) return;
    const nowMs = await store.deferred.timeMs();
    const due = this.#dueAt(nowMs);
    if (this.#isRequested || due.atMs <= nowMs) {
      const reason = this.#isRequested ? "requested" : due.reason;
      this.#isRequested = false;
      this.#begin(nowMs, () => this.#order(reason, nowMs));
    } else if (certificate !== undefined && checkMs <= nowMs) {
      this.#begin(nowMs, () => this.#inspect(certificate, nowMs));
    }
  }

  #begin(nowMs: number, run: () => Promise<void>): void {
    const { log, clock } = this.#deps;
    const base = this.#shared.current.certificate;
    const onError = async (error: unknown): Promise<void> => {
      if (error instanceof NotLeadingError) return;
      if (error instanceof StoreAwayError) {
        this.#notBeforeMs = clock.nowMs() + AGAIN_MS;
        log.warn({}, "the store went away during an order of a certificate; it goes on soon");
        return;
      }
      const detail = describeError(error);
      const failed = {
        outcome: "failed",
        kind: "internal",
        detail,
        retryAfterMs: undefined,
      } as const;
      await this.#onFailed(failed, base, nowMs);
    };
    this.#job = run()
      .catch(onError)
      .catch((err: unknown) => {
        this.#notBeforeMs = clock.nowMs() + AGAIN_MS;
        log.error(
          { err },
          `an order of a certificate failed, and that cannot be recorded; ${REPORT}`,
        );
      })
      .finally(() => {
        this.#job = undefined;
      });
  }

  async #order(reason: OrderReason | "requested", nowMs: number): Promise<void> {
    const { wanted, log } = this.#deps;
    const { account, certificate, order } = this.#shared.current;
    log.info({ domains: wanted.domains, reason }, "ordering a certificate");
    const job: CaJob = {
      kind: "order",
      wanted,
      account: account?.directory === wanted.directory ? account : undefined,
      open: isFor(order, wanted) ? order : undefined,
      challenge: certificate?.challenge ?? "http-01",
      replaces: isFor(certificate, wanted) ? certificate?.cert : undefined,
    };
    const result = await this.#ask(job);
    if (result.outcome === "issued") await this.#onIssued(result, certificate, nowMs);
    else if (result.outcome === "failed") await this.#onFailed(result, certificate, nowMs);
  }

  #ask(job: CaJob): Promise<CaResult> {
    return this.#deps.askCa(job, (step) => this.#takeStep(step), this.#stopping.signal);
  }

  async #takeStep(step: CaStep): Promise<void> {
    const { directory, domains, email } = this.#deps.wanted;
    if (!this.#isLeading) throw new NotLeadingError();
    switch (step.step) {
      case "account": {
        const { url, key } = step;
        const account = { directory, url, key, ...(email !== undefined && { email }) };
        return this.#shared.update((current) => ({ ...current, account }));
      }
      case "order": {
        const order = { directory, domains, url: step.url, key: step.key };
        return this.#shared.update((current) => ({ ...current, order }));
      }
      case "challenges":
        return this.challenges.put(step.challenges);
    }
  }

  /** `base`: the certificate when the order was begun. */
  async #onIssued(
    { cert, key, challenge }: OrderResult,
    base: IssuedCertificate | undefined,
    nowMs: number,
  ): Promise<void> {
    const { log, counters, clock, wanted } = this.#deps;
    const { directory, domains } = wanted;
    counters.count("balancer.acme.orders", "issued");
    const revokedBefore = base?.renewal?.isRevoked ? (base.revokedBefore ?? 0) + 1 : 0;
    const issued: IssuedCertificate = {
      ...{ directory, domains, cert, key, challenge },
      orderedMs: Math.max(nowMs, (base?.orderedMs ?? 0) + 1),
      ...(revokedBefore > 0 && { revokedBefore }),
    };
    let isNewest = true;
    await this.#shared.updateOrDefer(({ order: _done, failure: _over, ...kept }) => {
      // A balancer that has taken over the lead may have been quicker.
      isNewest = (kept.certificate?.orderedMs ?? 0) < issued.orderedMs;
      return isNewest ? { ...kept, certificate: issued } : undefined;
    });
    if (!isNewest) return;
    const { startMs, endMs } = this.#lifetimeOf(issued);
    const wallMs = clock.wallMs();
    if (startMs > wallMs || endMs < wallMs) {
      log.error(
        { from: isoOf(startMs), until: isoOf(endMs) },
        "the new certificate is not valid by this machine's clock; check the clock",
      );
    }
    const dates = { until: isoOf(endMs), next: isoOf(this.#dueAt(nowMs).atMs) };
    log.info({ domains, challenge, ...dates }, "certificate issued");
  }

  async #onFailed(
    { kind, detail, retryAfterMs }: CaFailure,
    base: IssuedCertificate | undefined,
    nowMs: number,
  ): Promise<void> {
    const { log, counters, wanted, random } = this.#deps;
    counters.count("balancer.acme.orders", "failed");
    const digest = digestOf(wanted);
    let failure: Failure | undefined;
    // Called again where the store goes away meanwhile.
    await this.#shared.updateOrDefer((current) => {
      // Another leader's certificate counts for more.
      if (current.certificate?.cert !== base?.cert) return undefined;
      const before = current.failure;
      const count = before?.wanted === digest ? before.count + 1 : 1;
      const retryMs = Math.round(nowMs + retryDelayMs(kind, count, random(), retryAfterMs));
      const { order: _open, ...kept } = current;
      failure = { count, kind, detail, failedMs: nowMs, retryMs, wanted: digest };
      // An authority that is away, or wants to be left alone, still has the order.
      const isOrderOpen = kind === "unreachable" || kind === "rate-limited";
      return { ...(isOrderOpen ? current : kept), failure };
    });
    if (failure === undefined) return;
    const { count, retryMs } = failure;
    log.error(
      { domains: wanted.domains, kind, detail, failures: count, retry: isoOf(retryMs) },
      this.#certificates.length > 0
        ? "no new certificate; the one before stays in use"
        : "no certificate; HTTPS does not work until there is one",
    );
  }

  async #inspect(certificate: IssuedCertificate, nowMs: number): Promise<void> {
    const { wanted, log, random } = this.#deps;
    const result = await this.#ask({ kind: "inspect", wanted, cert: certificate.cert });
    if (result.outcome === "issued") return;
    if (result.outcome === "failed") {
      log.debug({ detail: result.detail }, "the authority says nothing about the certificate");
    }
    const said = result.outcome === "inspected" ? result : undefined;
    const { window, isRevoked = false } = said ?? {};
    const before = certificate.renewal?.renewAtMs;
    // One that was chosen stays while it is in the window.
    const isKept =
      before !== undefined &&
      (window === undefined || (before >= window.startMs && before <= window.endMs));
    const renewAtMs = isKept ? before : window && chooseRenewal(window, random());
    const renewal = {
      checkedMs: nowMs,
      nextCheckMs: nextCheckMs(nowMs, said?.retryAfterMs),
      ...(renewAtMs !== undefined && { renewAtMs }),
      ...((isRevoked || certificate.renewal?.isRevoked) && { isRevoked: true as const }),
    };
    if (isRevoked) {
      log.error(
        { domains: certificate.domains },
        "the certificate was revoked by its authority; another one is ordered",
      );
    }
    if (!this.#isLeading) throw new NotLeadingError();
    await this.#shared.update((current) =>
      current.certificate?.cert === certificate.cert
        ? { ...current, certificate: { ...current.certificate, renewal } }
        : undefined,
    );
  }
}

const REPORT = "please report this with the log";

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
