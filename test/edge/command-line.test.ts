/**
 * Every setting of the schema as a flag, through the command lines as the programs make them. Made from the schema, so that a
 * new setting is covered too.
 */
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { balancerProgram } from "../../balancer/admin/command-line.ts";
import { edgeProgram } from "../../edge/command-line.ts";
import {
  flagOf,
  formatValue,
  readSettings,
  type Settings,
  settingsOf,
} from "../../shared/settings/read-settings.ts";
import type { Role, Setting } from "../../shared/settings/setting.ts";
import { workerProgram } from "../../worker/command-line.ts";
import { runCommand } from "../support/command.ts";

type Run = (flags: Record<string, unknown>) => Promise<void>;

const balancerOf = (run: Run): Command => balancerProgram({ run, check: run });
const workerOf = (run: Run): Command => workerProgram({ run, empty: run });

/** A program by the arguments that come before its flags. */
const PROGRAMS: readonly {
  readonly name: string;
  readonly role: Role;
  readonly before: readonly string[];
  readonly make: (run: Run) => Command;
}[] = [
  { name: "ct-edge", role: "edge", before: [], make: edgeProgram },
  { name: "ct-edge start", role: "edge", before: ["start"], make: edgeProgram },
  { name: "ct-balancer", role: "balancer", before: [], make: balancerOf },
  { name: "ct-balancer check", role: "balancer", before: ["check"], make: balancerOf },
  { name: "ct-worker", role: "worker", before: [], make: workerOf },
  { name: "ct-worker empty", role: "worker", before: ["empty"], make: workerOf },
];

/** Texts of which each pattern of the schema allows one. */
const TEXTS = [
  "sample",
  "10.1.2.3",
  "0.4.1",
  "0.4",
  "sample-1:8080",
  "http://sample:8080",
  "https://sample.example",
  "redis://sample:6379",
  "udp://sample:514",
  "{sample}:",
  "edge.sample.example",
  "operator@sample.example",
  "sample:a-sample-key-of-22-or-more-characters",
  "a-sample-token-of-visible-characters",
  "a sample secret of more than 32 characters",
  "admin:sample",
  "sample:read:a-sample-token-of-32-characters-or-more",
  '[{"type":"github","clientId":"sample","clientSecret":"sample"}]',
];

/** What an operator may write after the flag, and what the setting is then: not its default. */
function sampleOf(setting: Setting): { readonly written: string; readonly value: unknown } {
  switch (setting.type) {
    case "number": {
      const value = setting.default === setting.max ? setting.min : setting.max;
      return { written: String(value), value };
    }
    case "flag":
      return { written: setting.default ? "off" : "on", value: !setting.default };
    case "choice": {
      const value = setting.choices.find((choice) => choice !== setting.default) ?? "";
      return { written: value.toUpperCase(), value };
    }
    case "text":
    case "list": {
      const text = TEXTS.find((one) => isAllowed(setting, one));
      if (text === undefined) throw new Error(`add a text to TEXTS that ${setting.env} allows`);
      const isList = setting.type === "list";
      return isList
        ? { written: `${text},${text}`, value: [text, text] }
        : { written: text, value: text };
    }
  }
}

function isAllowed(setting: Extract<Setting, { type: "text" | "list" }>, text: string): boolean {
  const isRefused = setting.type === "text" && setting.problemOf?.(text) !== undefined;
  return (setting.pattern?.test(text) ?? true) && !isRefused;
}

describe.each(PROGRAMS)("$name", ({ role, before, make }) => {
  async function parse(...args: string[]): Promise<Settings> {
    let flags: Record<string, unknown> | undefined;
    const program = make(async (parsed) => {
      flags = parsed;
    });
    await program.parseAsync([...before, ...args], { from: "user" });
    if (flags === undefined) throw new Error(`nothing was run by ${args.join(" ")}`);
    return readSettings({ role, env: {}, flags });
  }

  const defaults = readSettings({ role, env: {} });
  const all = settingsOf(role).map(([name, setting]) => {
    return { name, setting, flag: flagOf(name), ...sampleOf(setting) };
  });

  test.each(all)("$flag sets its setting, and no other", async ({ name, flag, written, value }) => {
    const expected = { ...defaults, [name]: value };
    expect(await parse(`${flag}=${written}`)).toEqual(expected);
    expect(await parse(flag, written)).toEqual(expected);
  });

  test.each(all.filter(({ setting }) => setting.type === "flag"))(
    "$flag is on without a value, also before another flag, and what is written with one",
    async ({ name, flag }) => {
      for (const [args, value] of [
        [[flag], true],
        [[flag, "--log-level", "debug"], true],
        [["--log-level", "debug", flag], true],
        ...["true", "on", "1", "yes"].map((text) => [[`${flag}=${text}`], true] as const),
        ...["false", "off", "0", "no"].map((text) => [[flag, text], false] as const),
        ...["false", "off", "0", "no"].map((text) => [[`${flag}=${text}`], false] as const),
      ] as const) {
        expect([args, (await parse(...args))[name]]).toEqual([args, value]);
      }
      await expect(parse(`${flag}=maybe`)).rejects.toThrow(`${flag}="maybe" is not allowed`);
    },
  );

  test("all flags of a command at once set all of its settings", async () => {
    const settings = await parse(...all.flatMap(({ flag, written }) => [flag, written]));
    for (const { name, value } of all) expect([name, settings[name]]).toEqual([name, value]);
  });

  test("a flag that begins with no- is in the help as it is written", () => {
    const program = make(async () => {});
    const command =
      program.commands.find((one) => one.name() === (before[0] ?? "start")) ?? program;
    for (const { flag } of all) expect(command.helpInformation()).toContain(`  ${flag} `);
  });
});

test.each(["edge", "balancer", "worker"] as const)(
  "ct-edge check --role %s, as a process, shows what every flag sets",
  async (role) => {
    const samples = settingsOf(role).map(([, setting]) => ({ setting, ...sampleOf(setting) }));
    const flags = settingsOf(role).flatMap(([name], i) => [
      `${flagOf(name)}=${samples[i]?.written}`,
    ]);
    const { stdout } = await runCommand(["check", "--role", role, ...flags]);
    for (const { setting, value } of samples) {
      const shown = formatValue(setting, value as string);
      expect(stdout).toContain(`${setting.env.padEnd(32)}${shown}\n`);
    }
  },
);

test("ct-edge check --no-clients=false leaves the plugins on offer, --no-clients does not", async () => {
  for (const [flag, shown] of [
    ["--no-clients", "true"],
    ["--no-clients=false", "false"],
  ] as const) {
    const { stdout } = await runCommand(["check", flag]);
    expect(stdout).toMatch(new RegExp(`^CT_NOCLIENTS +${shown}$`, "m"));
  }
});
