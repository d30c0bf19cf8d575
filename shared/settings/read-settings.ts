/**
 * Finds and checks the value of each setting, once, at start. Flags win over the environment, the environment over the file
 * given with `--config`, that over the default; in the environment and in that file `CT_X_FILE` names a file with the
 * value of `CT_X`. An invalid value prevents the start with one line that names the setting, the value and what is allowed.
 */
import { parseEnv } from "node:util";
import { Option } from "commander";
import { describeError, EdgeError } from "../base/errors.ts";
import { REMOVED_SETTINGS } from "./removed-settings.ts";
import type { Role, Setting, SettingValue } from "./setting.ts";
import { SETTINGS, type SettingName } from "./settings.ts";
import { readTextFile } from "./text-file.ts";

/** All settings, checked and frozen. Settings without a default may be undefined. */
export type Settings = {
  readonly [Name in SettingName]: SettingValue<(typeof SETTINGS)[Name]>;
};

/** What a part reads. It declares the names beside their use, in a list for `slice`, so that it gets no others. */
export type Slice<Names extends readonly SettingName[]> = Pick<Settings, Names[number]>;

export function slice<const Names extends readonly SettingName[]>(
  settings: Settings,
  names: Names,
): Slice<Names> {
  // Every name is there.
  return Object.fromEntries(names.map((name) => [name, settings[name]])) as Slice<Names>;
}

/** A setting has an invalid value, or a file with settings cannot be read. */
export class SettingError extends EdgeError {
  readonly code = "EDGE_SETTING";
}

/** The flag of a setting: `tlsPort` is `--tls-port`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** An option that is never a negation: commander would treat `--no-clients` as the opposite of an option `clients`. */
export class SettingOption extends Option {
  override negate = false;
}

/** Commander's options for the settings of one program; give the parsed ones to `readSettings` as `flags`. */
export function settingOptions(role: Role): Option[] {
  const options: Option[] = [];
  for (const [name, setting] of settingsOf(role)) {
    const value = setting.type === "flag" ? "[on|off]" : `<${placeholder(setting)}>`;
    const described = `${setting.why} (${setting.env}${describeDefault(setting)})`;
    options.push(new SettingOption(`${flagOf(name)} ${value}`, described));
  }
  for (const [name] of removedSettings(role)) {
    options.push(new SettingOption(`${flagOf(name)} [value]`).hideHelp());
  }
  options.push(
    new Option(
      "--config <file>",
      "File with lines CT_X=value, used for settings that neither a flag nor the environment gives.",
    ),
  );
  return options;
}

/** The settings that operators can give a program, in the order of their declaration. */
export function settingsOf(role: Role): [SettingName, Setting][] {
  return publicSettings().filter(([, setting]) => setting.roles.includes(role));
}

function publicSettings(): [SettingName, Setting][] {
  const entries = Object.entries(SETTINGS) as [SettingName, Setting][];
  return entries.filter(([, setting]) => setting.internal !== true);
}

function removedSettings(role: Role) {
  return Object.entries(REMOVED_SETTINGS).filter(([, { roles }]) => roles.includes(role));
}

/** The settings as a Markdown table, for the README. */
export function settingsTable(): string {
  const rows = publicSettings().map(
    ([name, setting]) =>
      `| \`${setting.env}\` | \`${flagOf(name)}\` | ${formatDefault(setting) ?? ""} | ${setting.roles.join(", ")} | ${setting.why} |`,
  );
  return [
    "| variable | flag | default | read by | what it is |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

/**
 * Reads all settings of `role`. `flags` are commander's parsed options, `defaults` replaces defaults of the schema (the
 * one-machine start turns simple login on). Throws `SettingError`.
 */
export function readSettings(from: SettingsSource): Settings {
  const { settings, problems } = collectSettings(from);
  const [first] = problems;
  if (first !== undefined) throw new SettingError(first);
  return settings;
}

interface SettingsSource {
  readonly role: Role;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly defaults?: Partial<Settings>;
}

/** Like `readSettings`, but returns all problems; an invalid setting has its default. Never throws `SettingError`. */
export function collectSettings(from: SettingsSource): {
  readonly settings: Settings;
  readonly problems: readonly string[];
} {
  const flags = from.flags ?? {};
  const problems: string[] = [];
  const attempt = <T>(read: () => T, fallback: T): T => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      problems.push(error.message);
      return fallback;
    }
  };
  const file = attempt(() => readConfigFile(flags["config"]), {});
  for (const [name, { env, instead }] of removedSettings(from.role)) {
    const raw = attempt(() => findRawValue(name, { env }, flags, from.env, file), undefined);
    if (raw !== undefined) problems.push(`${raw.origin} is no longer a setting. ${instead}`);
  }
  const settings: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(SETTINGS) as [SettingName, Setting][]) {
    const fallback: unknown = from.defaults?.[name] ?? setting.default;
    const read = (): unknown => {
      const raw = setting.roles.includes(from.role)
        ? findRawValue(name, setting, flags, from.env, file)
        : undefined;
      return raw === undefined ? fallback : parseValue(setting, raw.value, raw.origin);
    };
    settings[name] = attempt(read, fallback);
  }
  return { settings: Object.freeze(settings) as Settings, problems };
}

/** The settings as environment variables for a child process of `role`. Settings without a value are left out. */
export function environmentOf(settings: Partial<Settings>, role: Role): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, setting] of settingsOf(role)) {
    const value = settings[name];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    env[setting.env] = String(value);
  }
  return env;
}

/** Names in the environment that look like settings but never were, such as misspelled ones. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>>): string[] {
  const names = new Set<string>();
  const all = [...Object.values<Setting>(SETTINGS), ...Object.values(REMOVED_SETTINGS)];
  for (const setting of all) {
    names.add(setting.env);
    names.add(`${setting.env}_FILE`);
    if ("aliases" in setting) for (const name of setting.aliases.names) names.add(name);
  }
  return Object.keys(env).filter((name) => name.startsWith("CT_") && !names.has(name));
}

// --- where a value comes from ---

interface RawValue {
  readonly value: string;
  readonly origin: string;
}

function findRawValue(
  name: string,
  setting: Pick<Setting, "env" | "aliases">,
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
  file: Readonly<Record<string, string | undefined>>,
): RawValue | undefined {
  const flag = flags[name];
  if (flag === true) return { value: "true", origin: flagOf(name) };
  if (typeof flag === "string") return { value: flag, origin: flagOf(name) };
  for (const [values, suffix] of [
    [env, ""],
    [file, " in the --config file"],
  ] as const) {
    // Compose files write `CT_X=${CT_X}`, so an empty variable counts as not set.
    const value = values[setting.env];
    if (value !== undefined && value !== "") return { value, origin: setting.env + suffix };
    const path = values[`${setting.env}_FILE`];
    if (path !== undefined && path !== "") {
      return {
        value: readNamedFile(`${setting.env}_FILE`, path, "file").trimEnd(),
        origin: `${setting.env}_FILE${suffix}`,
      };
    }
  }
  const { aliases } = setting;
  const value = aliases?.read(env);
  if (aliases === undefined || value === undefined) return undefined;
  const used = aliases.names.filter((one) => env[one]);
  return { value, origin: used.join(", ") };
}

/** The text of the file that a setting names. Throws `SettingError`. */
export function readNamedFile(name: string, path: string, kind: "file" | "PEM file"): string {
  try {
    return readTextFile(path);
  } catch (error) {
    throw new SettingError(
      `${name}=${path}: cannot be read (${describeError(error)}); name a readable ${kind}`,
    );
  }
}

function readConfigFile(path: unknown): Readonly<Record<string, string | undefined>> {
  if (typeof path !== "string") return {};
  const values = parseEnv(readNamedFile("--config", path, "file")) as Record<string, string>;
  const unknown =
    unknownSettings(values)[0] ?? Object.keys(values).find((name) => !name.startsWith("CT_"));
  if (unknown !== undefined) {
    throw new SettingError(
      `--config ${path}: ${unknown} is not a setting; see --help for their names`,
    );
  }
  return values;
}

// --- checking ---

function parseValue(setting: Setting, value: string, origin: string): unknown {
  switch (setting.type) {
    case "number": {
      const number = Number(value);
      if (!/^\d+$/.test(value) || number < setting.min || number > setting.max) {
        throw refuse(
          setting,
          value,
          origin,
          `a whole number from ${setting.min} to ${setting.max}`,
        );
      }
      return number;
    }
    case "flag": {
      if (["true", "on", "1", "yes"].includes(value.toLowerCase())) return true;
      if (["false", "off", "0", "no"].includes(value.toLowerCase())) return false;
      throw refuse(setting, value, origin, "true or false");
    }
    case "choice": {
      const choice = setting.choices.find((one) => one.toLowerCase() === value.toLowerCase());
      if (choice === undefined) throw refuse(setting, value, origin, setting.choices.join(", "));
      return choice;
    }
    case "list": {
      const items = value.split(",").map((item) => item.trim());
      const bad = items.find((item) => setting.pattern?.test(item) === false);
      if (bad !== undefined) throw refuse(setting, bad, origin, setting.allowed ?? "another value");
      return Object.freeze(items.filter((item) => item !== ""));
    }
    case "text": {
      if (setting.pattern?.test(value) === false) {
        throw refuse(setting, value, origin, setting.allowed ?? "another value");
      }
      const problem = setting.problemOf?.(value);
      if (problem !== undefined) {
        throw new SettingError(
          `${origin}=${shownInError(setting, value)} is not allowed; ${problem}`,
        );
      }
      return value;
    }
  }
}

function refuse(setting: Setting, value: string, origin: string, allowed: string): SettingError {
  return new SettingError(
    `${origin}=${shownInError(setting, value)} is not allowed; use ${allowed}`,
  );
}

function shownInError(setting: Setting, value: string): string {
  // A password in a URL is none of the log's business.
  return setting.secret ? "(not shown)" : JSON.stringify(value.replace(/:\/\/[^/?#]*@/, "://***@"));
}

// --- formatting ---

/** A setting's value as operators see it; of a secret only whether it is set. */
export function formatValue(
  setting: Setting,
  value: string | number | boolean | readonly string[] | undefined,
): string {
  const isSet = value !== undefined && !(Array.isArray(value) && value.length === 0);
  if (!isSet) return "(not set)";
  return setting.secret ? "(set)" : String(value);
}

function placeholder(setting: Setting): string {
  if (setting.type === "number") {
    return /_(MS|BYTES)$/.exec(setting.env)?.[1]?.toLowerCase() ?? "number";
  }
  if (setting.type === "choice") return setting.choices.join("|");
  return setting.type === "list" ? "a,b" : "value";
}

function describeDefault(setting: Setting): string {
  const shown = formatDefault(setting);
  return shown === undefined ? "" : `, default ${shown}`;
}

function formatDefault(setting: Setting): string | undefined {
  if (setting.default === undefined) return undefined;
  if (setting.type === "flag") return setting.default ? "on" : "off";
  return String(setting.default) || undefined;
}
