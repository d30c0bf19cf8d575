/**
 * Our own data path, in this process.
 */
import { startRig, workerRecord } from "../../balancer/rig.ts";
import type { PemPair } from "../../support/certificates.ts";
import type { Subject } from "../case.ts";
import type { Target, Workers } from "../stage.ts";

export interface OwnTarget extends Target {
  /** Exceptions thrown by handlers; must stay empty. */
  readonly bugs: readonly unknown[];
}

export async function startOurs(
  subject: Subject,
  workers: Workers,
  certificate: PemPair,
  isLinked = false,
): Promise<OwnTarget> {
  const ms = subject.timeoutMs ?? 4000;
  const rig = await startRig({
    workers: workers.ports.map((port, index) => workerRecord(`w${index + 1}`, port)),
    certificate,
    isLinked,
    trusted: subject.trusted ?? [],
    limits: {
      headerTimeoutMs: ms,
      bodyTimeoutMs: ms,
      keepaliveTimeoutMs: ms,
      upstreamTimeoutMs: ms,
    },
    // The scripted workers have no status port, and a failure in one case must not affect the next.
    probe: { async ask() {} },
    // A fixed list, as for the peers; otherwise the balancer would serve its own page at / while all workers fail.
    isLeased: false,
  });
  return {
    name: "ours",
    httpPort: rig.port,
    tlsPort: rig.path.listener.tlsPort ?? 0,
    bugs: rig.bugs,
    close: () => rig.close(),
  };
}
