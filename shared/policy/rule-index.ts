/**
 * Rules by what they ask for, so that a decision looks at those that may be for the people in question, in their order, and not at
 * all of them. Pure.
 */
import { getOrAdd } from "../base/grouping.ts";
import { ADDRESSES, type Keys } from "./keys.ts";
import { CONDITION_KINDS, type ConditionKind, type Rule } from "./policy.ts";

/** What a rule asks for: of the person itself, or of the host whose session it is about. */
type Side = "who" | "hosts";

interface Placed {
  readonly rule: Rule;
  readonly at: number;
}

/** The rules that may be for them, in their order. `host`: whose session it is about. */
export type RuleIndex = (keys: Keys, host?: Keys) => Iterable<Rule>;

/**
 * `sides`: whose conditions count. `decidesUnknown`: whether the rule decides about people of whom it is not known whether it is for
 * them.
 */
export function createRuleIndex(
  rules: readonly Rule[],
  sides: readonly Side[],
  decidesUnknown: (rule: Rule) => boolean,
): RuleIndex {
  const shares = countKeys(rules, sides);
  const lists = new Map<string, Placed[]>();
  const unknown = new Map<string, Placed[]>();
  const forAll: Placed[] = [];
  for (const [at, rule] of rules.entries()) {
    const placed = { rule, at };
    const narrowest = narrowestOf(rule, sides, shares);
    if (narrowest === undefined) {
      forAll.push(placed);
      continue;
    }
    const { side, kind } = narrowest;
    const keys = rule[side][kind] ?? new Set();
    for (const key of keys) {
      if (key !== ADDRESSES) push(lists, listName(side, kind, key), placed);
    }
    // Of those that do not decide about these people, the first gives the reason.
    if (kind === "users" && !keys.has(ADDRESSES)) continue;
    const before = unknown.get(listName(side, kind));
    if (before === undefined || decidesUnknown(rule)) push(unknown, listName(side, kind), placed);
  }

  function listsFor(side: Side, keys: Keys): (readonly Placed[])[] {
    const found: (readonly Placed[] | undefined)[] = [];
    for (const kind of CONDITION_KINDS) {
      const own = keys[kind];
      if (own === undefined) found.push(unknown.get(listName(side, kind)));
      else for (const key of own) found.push(lists.get(listName(side, kind, key)));
    }
    if (keys.domains === undefined) found.push(unknown.get(listName(side, "users")));
    return found.filter((list) => list !== undefined);
  }

  return (keys, host) => {
    const found = [forAll, ...listsFor("who", keys)];
    if (host !== undefined) found.push(...listsFor("hosts", host));
    return inOrder(found.filter(({ length }) => length > 0));
  };
}

function listName(side: Side, kind: ConditionKind, key = ""): string {
  return `${side} ${kind} ${key}`;
}

function push(lists: Map<string, Placed[]>, name: string, placed: Placed): void {
  getOrAdd(lists, name, () => []).push(placed);
}

/** How many rules name each key. */
function countKeys(rules: readonly Rule[], sides: readonly Side[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const rule of rules) {
    for (const side of sides) {
      for (const kind of CONDITION_KINDS) {
        for (const key of rule[side][kind] ?? []) {
          const name = listName(side, kind, key);
          counts.set(name, (counts.get(name) ?? 0) + 1);
        }
      }
    }
  }
  return counts;
}

/** The condition whose keys the fewest rules share; undefined: there is none. */
function narrowestOf(
  rule: Rule,
  sides: readonly Side[],
  shares: ReadonlyMap<string, number>,
): { readonly side: Side; readonly kind: ConditionKind } | undefined {
  let narrowest: { readonly side: Side; readonly kind: ConditionKind } | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const side of sides) {
    for (const kind of CONDITION_KINDS) {
      const keys = rule[side][kind];
      if (keys === undefined) continue;
      let most = 0;
      for (const key of keys) {
        if (key !== ADDRESSES) most = Math.max(most, shares.get(listName(side, kind, key)) ?? 0);
      }
      if (most < least) [least, narrowest] = [most, { side, kind }];
    }
  }
  return narrowest;
}

/** The rules of several lists in their order, each once. A heap of the lists by their next rule. */
function* inOrder(lists: readonly (readonly Placed[])[]): Generator<Rule, void> {
  const heap = lists.map((list) => ({ list, next: 0, at: list[0]?.at ?? 0 }));
  const sink = (from: number): void => {
    for (let index = from; ; ) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if ((heap[child]?.at ?? Number.POSITIVE_INFINITY) < (heap[least]?.at ?? 0)) least = child;
      }
      const [one, other] = [heap[index], heap[least]];
      if (least === index || one === undefined || other === undefined) return;
      heap[index] = other;
      heap[least] = one;
      index = least;
    }
  };
  for (let index = (heap.length >> 1) - 1; index >= 0; index--) sink(index);
  let last = -1;
  for (let first = heap[0]; first !== undefined; first = heap[0]) {
    const placed = first.list[first.next];
    first.next++;
    const following = first.list[first.next];
    if (following === undefined) {
      const end = heap.pop();
      if (heap.length > 0 && end !== undefined) heap[0] = end;
    } else first.at = following.at;
    sink(0);
    if (placed === undefined || placed.at === last) continue;
    last = placed.at;
    yield placed.rule;
  }
}
