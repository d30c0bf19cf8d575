/**
 * What a snapshot of the cluster says, as plain values: whether rings agree, how the owner of a session is, and what its
 * worker reports of it. Pure. Commands and the dashboard build their answers from these, so that they agree.
 */
import { countEach, groupBy } from "../base/grouping.ts";
import type { SessionId } from "../base/ids.ts";
import type { MemberRecord } from "../store/member.ts";
import type { SessionRecord } from "../store/store.ts";
import type { ClusterSnapshot, PublishedView } from "./read.ts";
import { type ResumeSummary, summarizeResumes } from "./resume-reports.ts";
import type { LinkState, ReportedLinks, ReportedSession } from "./status-reports.ts";

// --- rings ---

export type RingAgreement = ReturnType<typeof compareRings>;

/** Members that have not seen a ring yet (an empty fingerprint) do not count. */
export function compareRings(members: readonly Pick<MemberRecord, "id" | "ringFingerprint">[]) {
  const withRing = members.filter(({ ringFingerprint }) => ringFingerprint !== "");
  const counts = countEach(withRing.map(({ ringFingerprint }) => ringFingerprint));
  const [first, second] = [...counts].sort(([, a], [, b]) => b - a);
  const majority = first?.[1] === second?.[1] ? undefined : first?.[0];
  const differing = withRing.filter(({ ringFingerprint }) => ringFingerprint !== majority);
  return {
    /** The fingerprint that more members have than any other; undefined on a tie, and when no member has seen a ring. */
    majority,
    /** Members with another ring than the majority, by id. On a tie that is every member with a ring. */
    differing: new Set<string>(differing.map(({ id }) => id).sort()),
  };
}

// --- secrets ---

export type SecretAgreement =
  | { readonly state: "one" }
  /** The secret is being changed, and all members know the new one. */
  | { readonly state: "changing" }
  /**
   * Members with another secret ignore each other. `twoEdges`: more than one secret has both a balancer and a worker, so
   * these are edges that share a store by mistake.
   */
  | {
      readonly state: "several";
      readonly twoEdges: boolean;
      /** Ids by secret, the largest group first. */
      readonly groups: readonly (readonly string[])[];
    };

type SecretHolder = Pick<
  MemberRecord,
  "kind" | "id" | "secretFingerprint" | "nextSecretFingerprint"
>;

export function compareSecrets(members: readonly SecretHolder[]): SecretAgreement {
  const bySecret = groupBy(members, ({ secretFingerprint }) => secretFingerprint);
  if (bySecret.size <= 1) return { state: "one" };
  const isKnownToAll = (secret: string): boolean =>
    members.every(
      ({ secretFingerprint, nextSecretFingerprint }) =>
        secretFingerprint === secret || nextSecretFingerprint === secret,
    );
  if ([...bySecret.keys()].some(isKnownToAll)) return { state: "changing" };
  const groups = [...bySecret.values()].sort((a, b) => b.length - a.length);
  const edges = groups.filter((group) =>
    (["balancer", "worker"] as const).every((kind) => group.some((one) => one.kind === kind)),
  );
  return {
    state: "several",
    twoEdges: edges.length > 1,
    groups: groups.map((group) => group.map(({ id }) => id).sort()),
  };
}

// --- sessions ---

/** `restarted`: the owner runs, but has not taken the session up again since its restart. */
export type OwnerState = "lives" | "restarted" | "gone";

/** The state of a session's owner, by its lease. */
export function ownerStateOf(
  { owner, incarnation }: Pick<SessionRecord, "owner" | "incarnation">,
  members: readonly MemberRecord[],
): OwnerState {
  const member = members.find(({ id }) => id === owner);
  if (member === undefined) return "gone";
  return member.incarnation === incarnation ? "lives" : "restarted";
}

/** What the owner of each session reports of it; sessions that did not fit into its report are missing. */
export function sessionReports({
  views,
  ownerById,
}: Pick<ClusterSnapshot, "views" | "ownerById">): ReadonlyMap<string, ReportedSession> {
  const reportById = new Map<string, ReportedSession>();
  for (const { id, view } of views) {
    if (view.role !== "worker") continue;
    for (const session of view.sessions) {
      // A session that was handed over may still be in the report of its former owner.
      const owner: string | undefined = ownerById.get(session.id as SessionId);
      if (owner === id) reportById.set(session.id, session);
    }
  }
  return reportById;
}

// --- links ---

/** The links of all balancers to one worker; numbers are sums. */
export interface LinkSummary extends ReportedLinks {
  /** The state at the balancer where it is worst. */
  readonly state: LinkState;
  /** Balancers that report links to the worker, and those of them that have an open one. */
  readonly balancers: number;
  readonly open: number;
}

const WORST_FIRST = ["connecting", "unsupported", "off", "open"] as const;

/** By worker. Workers of which no balancer reports links are missing: balancers of the version before report none. */
export function summarizeLinks(
  views: readonly Pick<PublishedView, "view">[],
): ReadonlyMap<string, LinkSummary> {
  const byWorker = new Map<string, LinkSummary>();
  for (const { view } of views) {
    if (view.role !== "balancer") continue;
    for (const { id, link } of view.workers) {
      if (link !== undefined) byWorker.set(id, addLinks(byWorker.get(id), link));
    }
  }
  return byWorker;
}

function addLinks(before: LinkSummary | undefined, link: ReportedLinks): LinkSummary {
  const open = link.state === "open" ? 1 : 0;
  if (before === undefined) return { ...link, balancers: 1, open };
  const states = [before.state, link.state];
  return {
    state: WORST_FIRST.find((state) => states.includes(state)) ?? link.state,
    balancers: before.balancers + 1,
    open: before.open + open,
    links: before.links + link.links,
    streams: before.streams + link.streams,
    framesIn: before.framesIn + link.framesIn,
    framesOut: before.framesOut + link.framesOut,
    bytesIn: before.bytesIn + link.bytesIn,
    bytesOut: before.bytesOut + link.bytesOut,
    stalls: before.stalls + link.stalls,
    resets: before.resets + link.resets,
    errors: before.errors + link.errors,
  };
}

// --- WebSockets in moves of sessions ---

/** Of all balancers that report them; undefined when none does. */
export function summarizeAllResumes(
  views: readonly Pick<PublishedView, "view">[],
): ResumeSummary | undefined {
  return summarizeResumes(
    views.flatMap(({ view }) => (view.role === "balancer" ? (view.resumes ?? []) : [])),
  );
}
