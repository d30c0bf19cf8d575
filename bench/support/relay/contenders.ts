/** Pairs of a proxy and a server with their people, measured in turn: for relay.ts, sessions.ts and scale.ts. */
import { webcrypto } from "node:crypto";
import { Encryption, initializeProtocol } from "open-collaboration-protocol";
import type { Figures, Rounds } from "../rounds.ts";
import { type Form, size } from "../sizes.ts";
import { type Load, startLoad } from "./load.ts";
import { OURS, type Pair, type PairKind, type Placement } from "./pairs.ts";
import type { Scenario } from "./scenarios.ts";

/** How long a benchmark takes. */
export interface Duration {
  readonly rounds: number;
  /** Of a measurement. */
  readonly seconds: number;
  /** Of the load before the first round. */
  readonly warmSeconds: number;
}

/** `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS`, or those of the form. */
export function durationFromEnv({ long, short }: Readonly<Record<Form, Duration>>): Duration {
  return {
    rounds: size("BENCH_ROUNDS", { long: long.rounds, short: short.rounds }),
    seconds: size("BENCH_SECONDS", { long: long.seconds, short: short.seconds }),
    warmSeconds: size("BENCH_WARM_SECONDS", {
      long: long.warmSeconds,
      short: short.warmSeconds,
    }),
  };
}

/** Versions by name of those that are installed; prints them, and how to get the others. */
export function installedVersions(kinds: readonly PairKind[]): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const kind of kinds) {
    const version = kind.version();
    if (version !== undefined) versions[kind.name] = version;
    process.stdout.write(
      version === undefined
        ? `${kind.name} is skipped; to include it: ${kind.install}\n`
        : `${kind.name}: ${version}\n`,
    );
  }
  return versions;
}

/** Connections of our balancer to its worker, beyond which the streams are not on links. */
const MAX_LINKS = 5;

interface Contender {
  readonly name: string;
  readonly pair: Pair;
  readonly load: Load;
}

/** Alternates between the pairs, so that other load on the machine affects all of them. Each is warmed up first. */
export async function interleave(
  scenario: Scenario,
  kinds: readonly PairKind[],
  options: Duration & { readonly placement: Placement },
): Promise<Rounds> {
  const { seconds, warmSeconds } = options;
  const rounds = new Map<string, Figures[]>(kinds.map(({ name }) => [name, []]));
  const measure = async ({ name, pair, load }: Contender): Promise<void> => {
    rounds.get(name)?.push(await scenario.measure(pair, load, seconds));
  };
  const placement = scenario.isOnTwoCores === true ? "two" : options.placement;
  if (scenario.isFresh === true) {
    for (let round = 0; round < options.rounds; round++) {
      for (const kind of kinds) await withContenders([kind], scenario, placement, measureAll);
    }
  } else {
    await withContenders(kinds, scenario, placement, async (contenders) => {
      const warmUp = scenario.warmUp ?? scenario.measure;
      for (const { pair, load } of contenders) await warmUp(pair, load, warmSeconds);
      for (let round = 0; round < options.rounds; round++) await measureAll(contenders);
    });
  }
  return rounds;

  async function measureAll(contenders: readonly Contender[]): Promise<void> {
    for (const contender of contenders) await measure(contender);
  }
}

/** Starts the pairs with their people, and ends all of them afterwards. */
async function withContenders(
  kinds: readonly PairKind[],
  { sessions }: Scenario,
  placement: Placement,
  use: (contenders: readonly Contender[]) => Promise<void>,
): Promise<void> {
  const contenders: Contender[] = [];
  initializeProtocol({ cryptoModule: webcrypto as never });
  const { publicKey } = await Encryption.generateKeyPair();
  try {
    for (const kind of kinds) {
      const pair = await kind.start(placement);
      const load = startLoad();
      contenders.push({ name: kind.name, pair, load });
      if (sessions === undefined) continue;
      await load.openSessions({ ...sessions, ports: pair.ports, publicKey });
      if (kind === OURS) requireLink(pair);
    }
    await use(contenders);
  } finally {
    for (const { pair, load } of contenders) {
      await load.close();
      await pair.end();
    }
  }
}

/** Otherwise the figures would be those of another way. */
function requireLink(pair: Pair): void {
  const connections = pair.connections();
  if (connections <= MAX_LINKS) return;
  throw new Error(`the balancer has ${connections} connections to its worker instead of a link`);
}
