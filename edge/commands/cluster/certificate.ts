/** `ct-edge certificate`: the certificate that the edge obtains itself (CT_ACME_DOMAINS), and its renewal at once. */
import { type Command, Option } from "commander";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { readMembers, readViews } from "../../../shared/cluster/read.ts";
import type { ReportedAcme } from "../../../shared/cluster/status-reports.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { Store } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { isoTime } from "../../output/format.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";
import { sendAsOperator } from "../command-sender.ts";

interface Flags extends CommonFlags {
  readonly renew?: true;
}

export function certificateCommand(): Command {
  return createStoreCommand<Flags>({
    name: "certificate",
    description:
      "Shows the certificate that the edge obtains itself (CT_ACME_DOMAINS): until when it is valid, when it is renewed, and why the last order failed.",
    options: [
      new Option("--renew", "Order a new one now, for example because its key may be known."),
    ],
    async run({ store }, { renew }) {
      const found = await read(store);
      if (renew) {
        if (found.balancers.length === 0) {
          throw new CommandError(found.hasReports ? NOT_SET : NO_REPORT);
        }
        await renewNow(store, found.balancers);
        return { json: {}, out: "the certificate is being ordered\n" };
      }
      const { acme } = found;
      if (acme === undefined) throw new CommandError(found.hasReports ? NOT_SET : NO_REPORT);
      const out = describeAcme(acme, Date.now());
      return { json: acme, out, status: isHealthy(acme) ? 0 : 1 };
    },
  });
}

const NOT_SET = "no balancer obtains a certificate; set CT_ACME_DOMAINS there";
const NO_REPORT =
  "no balancer is running, or none has reported yet; they do so within 5 s of their start";

interface Found {
  readonly balancers: readonly WorkerId[];
  /** Whether any balancer reports. */
  readonly hasReports: boolean;
  /** Of what balancers report, that which matters most. */
  readonly acme: ReportedAcme | undefined;
}

async function read(store: Store): Promise<Found> {
  const { membership } = await readMembers(store);
  const views = await readViews(store, membership.members);
  const hasReports = views.some(({ view }) => view.role === "balancer");
  const reported = views.flatMap(({ id, view }) =>
    view.role === "balancer" && view.acme !== undefined ? [{ id, acme: view.acme }] : [],
  );
  // One that cannot read the record, or has failed, first: it tells more.
  const [first] = reported
    .map(({ acme }) => acme)
    .sort(
      (a, b) =>
        Number(b.problem !== undefined) - Number(a.problem !== undefined) ||
        (b.expiresInMs ?? 0) - (a.expiresInMs ?? 0),
    );
  const balancers = reported.map(({ id }) => id as WorkerId);
  return { balancers, hasReports, acme: first };
}

/** One of them leads the orders; the others refuse. */
async function renewNow(store: Store, balancers: readonly WorkerId[]): Promise<void> {
  const answers = await Promise.all(
    balancers.map((id) => sendAsOperator(store, id, { kind: "renew-certificate" })),
  );
  const refusals = answers.map((answer) => (answer === "no answer" ? answer : answer.message));
  if (answers.some((answer) => answer !== "no answer" && answer.outcome === "done")) return;
  const reasons = [...new Set(refusals)].map((text) => escapeForTerminal(text)).join("; ");
  throw new CommandError(`certificate --renew: refused, ${reasons}`);
}

function isHealthy({ expiresInMs, isRevoked, problem }: ReportedAcme): boolean {
  return expiresInMs !== undefined && expiresInMs > 0 && !isRevoked && problem === undefined;
}

function describeAcme(acme: ReportedAcme, nowMs: number): string {
  const { domains, expiresInMs, nextOrderInMs, isRevoked, failures, problem } = acme;
  const next = nextOrderInMs <= 0 ? "now" : isoTime(nowMs + nextOrderInMs);
  const lines = [
    `names       ${domains.join(", ")}`,
    `valid       ${expiresInMs === undefined ? "there is none yet" : `until ${isoTime(nowMs + expiresInMs)}`}`,
    ...(isRevoked ? ["revoked     by its authority; another one is being ordered"] : []),
    `next order  ${next}`,
    ...(failures > 0 ? [`failed      ${failures === 1 ? "once" : `${failures} times`}`] : []),
    ...(problem === undefined ? [] : [`problem     ${problem}`]),
  ];
  return lines.map((line) => `${escapeForTerminal(line)}\n`).join("");
}
