/** Who may host and join here, by the policy in force. Without one, everyone who has signed in. */
import type { Clock } from "../../shared/base/clock.ts";
import type { Decider } from "../../shared/policy/decide.ts";
import { personOf } from "../../shared/policy/person.ts";
import type { Decision, Limits, Person, Refusal } from "../../shared/policy/policy.ts";
import type { PolicyFile } from "../../shared/policy/policy-file.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import { createKnownSignIns } from "./known-sign-ins.ts";

/** All of them reject with `StoreAwayError` when it depends on a person whom only the store knows. */
export type Access = ReturnType<typeof createAccess>;

export interface Entry {
  readonly user: UserRecord;
  readonly address: string;
  /** What the client calls itself. */
  readonly client: string;
  /** Whose session it is; undefined: its own. */
  readonly host: UserRecord | undefined;
}

const ALLOWED: Decision = { outcome: "allowed", rule: undefined, isAsked: true };
const NO_LIMITS: Limits = {};
/** How old what is known of a person may be: when it comes in, and while its session lasts. */
const FRESH_MS = 2000;
const FRESH_ENOUGH_MS = 60_000;

export function createAccess(deps: {
  /** Undefined: there is none. */
  readonly policy: Pick<PolicyFile, "current"> | undefined;
  readonly store: Pick<Store, "findSignIns">;
  readonly clock: Pick<Clock, "nowMs">;
}) {
  const signIns = createKnownSignIns(deps);
  const decider = (): Decider | undefined => deps.policy?.current.decider;

  async function describe(user: UserRecord, address?: string): Promise<Person> {
    const { signIn } = user;
    const told = signIn === undefined ? undefined : await signIns.read(signIn, FRESH_MS);
    return personOf(user, address, told);
  }

  async function mayJoin(user: UserRecord, address: string, host: UserRecord): Promise<Decision> {
    const [person, hostPerson] = await Promise.all([describe(user, address), describe(host)]);
    // The policy as it is now.
    return decider()?.mayJoin(person, hostPerson) ?? ALLOWED;
  }

  async function mayHost(user: UserRecord, address: string): Promise<Decision> {
    const person = await describe(user, address);
    return decider()?.mayHost(person) ?? ALLOWED;
  }

  return {
    /** `address`: of the client. */
    mayHost: async (...args: Parameters<typeof mayHost>) =>
      decider() === undefined ? ALLOWED : mayHost(...args),
    mayJoin: async (...args: Parameters<typeof mayJoin>) =>
      decider() === undefined ? ALLOWED : mayJoin(...args),
    /** Why somebody with a room token may not come in now; undefined: nothing is against it. */
    async entryProblem({ user, address, client, host }: Entry): Promise<Refusal | undefined> {
      if (decider() === undefined) return undefined;
      const decision = await (host === undefined
        ? mayHost(user, address)
        : mayJoin(user, address, host));
      if (decision.outcome === "denied") return decision;
      return decider()?.clientProblem(await describe(user), client);
    },
    /** Whether our own page is to open a session of `host` read-only for the user: a hint. */
    async isReadOnlyHinted(user: UserRecord, address: string, host: UserRecord): Promise<boolean> {
      if (decider() === undefined) return false;
      const [person, hostPerson] = await Promise.all([describe(user, address), describe(host)]);
      return decider()?.readOnlyHint(person, hostPerson) !== undefined;
    },
    /** Of the sessions of `host`. */
    async limitsOf(host: UserRecord): Promise<Limits> {
      if (decider() === undefined) return NO_LIMITS;
      const person = await describe(host);
      return decider()?.limitsOf(person) ?? NO_LIMITS;
    },
    /** The same; undefined without limits of time, or when the store has lost the host's sign-in. */
    async timeLimitsOf(host: UserRecord): Promise<Limits | undefined> {
      if (decider()?.hasTimeLimits !== true) return undefined;
      const { signIn } = host;
      const told = signIn === undefined ? undefined : await signIns.read(signIn, FRESH_ENOUGH_MS);
      if (signIn !== undefined && told === undefined) return undefined;
      return decider()?.limitsOf(personOf(host, undefined, told));
    },
  };
}
