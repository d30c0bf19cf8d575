import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { BALANCER_SETTINGS } from "../../../shared/settings/balancer-settings.ts";
import { DEPLOYMENT_SETTINGS } from "../../../shared/settings/deployment-settings.ts";
import { readLicenseFile } from "../../../shared/settings/license-file.ts";
import { OPERATION_SETTINGS } from "../../../shared/settings/operation-settings.ts";
import {
  collectSettings,
  environmentOf,
  flagOf,
  readSettings,
  SettingError,
  settingOptions,
  settingsOf,
  settingsTable,
  unknownSettings,
} from "../../../shared/settings/read-settings.ts";
import { REMOVED_SETTINGS } from "../../../shared/settings/removed-settings.ts";
import { SETTINGS } from "../../../shared/settings/settings.ts";
import { WORKER_SETTINGS } from "../../../shared/settings/worker-settings.ts";
import { tempFolder } from "../../support/temp-folder.ts";

let folder: string;
beforeAll(() => {
  folder = tempFolder();
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("sources of a setting", () => {
  test("a flag wins over the environment, that over a value file, that over --config, that over the default", () => {
    const config = file("a.env", "CT_PORT=4\nCT_TLS_PORT=40\nCT_WORKER_COUNT=3\n");
    const settings = readSettings({
      role: "edge",
      env: { CT_PORT: "2", CT_TLS_PORT_FILE: file("port", "30\n") },
      flags: { port: "1", config },
    });
    expect(settings).toMatchObject({ port: 1, tlsPort: 30, workerCount: 3, workerPort: 3001 });
  });

  test("an operator's value overrides a default of the one-machine start", () => {
    const defaults = { loginSimple: true };
    const read = (env: Record<string, string>): boolean =>
      readSettings({ role: "edge", env, defaults }).loginSimple;
    expect(read({})).toBe(true);
    expect(read({ CT_LOGIN_SIMPLE: "off" })).toBe(false);
  });

  test.each([
    ["UTF-8", (text: string) => Buffer.from(`\ufeff${text}`)],
    ["UTF-16 LE, as PowerShell writes", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le")],
    ["UTF-16 BE", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
  ])(
    "a byte order mark of %s is not part of a value, in any file that a setting names",
    (_, encode) => {
      const named = (name: string, text: string): string => {
        const path = join(folder, name);
        writeFileSync(path, encode(text));
        return path;
      };
      const secret = "a secret of more than 32 characters, ü";
      const env = {
        CT_SECRET_FILE: named("secret", `${secret}\r\n`),
        CT_DASHBOARD_PASSWORD_FILE: named("password", "pass word\n"),
        CT_LOGIN_API_KEY_FILE: named("key", "0123456789abcdef"),
        CT_REDIS_URL_FILE: named("redis", "redis://redis:6379\n"),
      };
      const flags = { config: named("edge.env", "CT_PORT=4\r\n# a comment\nCT_TLS_PORT=40\n") };
      expect(readSettings({ role: "edge", env, flags })).toMatchObject({
        secret,
        dashboardPassword: "pass word",
        loginApiKey: "0123456789abcdef",
        redisUrl: "redis://redis:6379",
        port: 4,
        tlsPort: 40,
      });
      const licenseFile = named(
        "licensing.properties",
        "licensee=Us\nmaxConnections=5\nexpiration=2099/12/31\nsignature=x\n",
      );
      expect(readLicenseFile(licenseFile)).toMatchObject({ licensee: "Us", maxConnections: 5 });
    },
  );

  test("an empty variable counts as not set", () => {
    expect(readSettings({ role: "edge", env: { CT_PORT: "" } }).port).toBe(1080);
  });

  test("a flag without a value turns the setting on", () => {
    expect(readSettings({ role: "edge", env: {}, flags: { loginSimple: true } }).loginSimple).toBe(
      true,
    );
  });

  test("a program does not read the settings of another program", () => {
    expect(readSettings({ role: "balancer", env: { CT_WORKER_ID: "x" } }).workerId).toBeUndefined();
  });

  test("settings cannot be changed after they were read", () => {
    expect(Object.isFrozen(readSettings({ role: "edge", env: {} }))).toBe(true);
  });
});

describe("an invalid value is refused with the setting, the value and the fix", () => {
  const cases: [Record<string, string>, string][] = [
    [{ CT_PORT: "eighty" }, 'CT_PORT="eighty" is not allowed; use a whole number from 0 to 65535'],
    [{ CT_PORT: "65536" }, 'CT_PORT="65536" is not allowed; use a whole number from 0 to 65535'],
    [{ CT_PORT: "1e3" }, 'CT_PORT="1e3" is not allowed; use a whole number from 0 to 65535'],
    [{ CT_PORT: "-1" }, 'CT_PORT="-1" is not allowed; use a whole number from 0 to 65535'],
    [{ CT_LOGIN_SIMPLE: "maybe" }, 'CT_LOGIN_SIMPLE="maybe" is not allowed; use true or false'],
    [{ CT_LOG_LEVEL: "loud" }, 'CT_LOG_LEVEL="loud" is not allowed; use debug, info, warn, error'],
    [
      { CT_SERVER_URL: "http://edge" },
      'CT_SERVER_URL="http://edge" is not allowed; use an https URL with a host name, like https://edge.example.com',
    ],
    [
      { CT_CORS_ALLOWED_ORIGINS: "https://a.example, *" },
      'CT_CORS_ALLOWED_ORIGINS="*" is not allowed; use origins like https://ide.example.com',
    ],
    ...["0.4", "v0.4.0", "0.4.0-rc.1", "0.04.0", "latest"].map(
      (version): [Record<string, string>, string] => [
        { CT_PROTOCOL_VERSION: version },
        `CT_PROTOCOL_VERSION="${version}" is not allowed; use three numbers like 0.3.1`,
      ],
    ),
    ...["0.3.1", "1.2", "0", "*", "0.3;0.4"].map((version): [Record<string, string>, string] => [
      { CT_PROTOCOL_ACCEPTED: `0.3,${version}` },
      `CT_PROTOCOL_ACCEPTED="${version}" is not allowed; use minor versions like 0.3,0.4 and, from 1 on, major versions like 1`,
    ]),
    [
      { CT_SECRET: "short" },
      "CT_SECRET=(not shown) is not allowed; use at least 32 characters, for example from `openssl rand -base64 48`",
    ],
  ];
  test.each(cases)(
    "the invalid value %j is refused with the setting, the value and the fix",
    (env, message) => {
      expect(() => readSettings({ role: "edge", env })).toThrow(new SettingError(message));
    },
  );

  test("a value file that cannot be read is refused with its path", () => {
    const read = (): unknown =>
      readSettings({ role: "edge", env: { CT_SECRET_FILE: join(folder, "none") } });
    expect(read).toThrow(/^CT_SECRET_FILE=.*none: cannot be read \(ENOENT.*name a readable file$/);
  });

  test("an unknown name in the --config file is refused", () => {
    const flags = { config: file("b.env", "CT_PROT=1\n") };
    expect(() => readSettings({ role: "edge", env: {}, flags })).toThrow(
      /CT_PROT is not a setting/,
    );
  });
});

describe("a removed setting", () => {
  const flags = (...names: readonly string[]) => Object.fromEntries(names.map((n) => [n, "9"]));
  const cases = Object.entries(REMOVED_SETTINGS).flatMap(([name, { env, roles, instead }]) =>
    roles.map((role) => ({ name, env, role, message: `is no longer a setting. ${instead}` })),
  );

  test.each(cases)(
    "the removed setting $env stops the start of $role, wherever it is",
    ({ name, env, role, message }) => {
      const path = file("nine", "9\n");
      const config = (text: string): string => file(`${name}.env`, text);
      for (const [from, origin] of [
        [{ env: { [env]: "9" } }, env],
        [{ env: { [`${env}_FILE`]: path } }, `${env}_FILE`],
        [{ env: {}, flags: flags(name) }, flagOf(name)],
        [{ env: {}, flags: { config: config(`${env}=9\n`) } }, `${env} in the --config file`],
      ] as const) {
        expect(() => readSettings({ role, ...from })).toThrow(
          new SettingError(`${origin} ${message}`),
        );
      }
      const inConfig = { config: config(`${env}_FILE=${path}\n`) };
      expect(collectSettings({ role, env: { CT_PORT: "x" }, flags: inConfig }).problems).toEqual([
        `${env}_FILE in the --config file ${message}`,
        'CT_PORT="x" is not allowed; use a whole number from 0 to 65535',
      ]);
    },
  );

  test("a removed setting has a flag that --help does not show", () => {
    const options = settingOptions("balancer");
    expect(options.find(({ long }) => long === "--max-fields")?.hidden).toBe(true);
  });

  test("a removed setting that is empty, or that another program read, is ignored, and is not called unknown", () => {
    expect(readSettings({ role: "balancer", env: { CT_MAX_FIELDS: "" } }).port).toBe(1080);
    expect(readSettings({ role: "worker", env: { CT_MAX_FIELDS: "9" } }).port).toBe(1080);
    expect(unknownSettings({ CT_MAX_FIELDS: "9", CT_MAX_FIELDS_FILE: "x" })).toEqual([]);
  });

  test("a removed setting has no name of a present one", () => {
    const names = [...Object.keys(SETTINGS), ...Object.values(SETTINGS).map(({ env }) => env)];
    for (const [name, { env }] of Object.entries(REMOVED_SETTINGS)) {
      expect(names).not.toContain(name);
      expect(names).not.toContain(env);
    }
  });
});

test("variables that look like settings but are not are found", () => {
  expect(unknownSettings({ CT_PORT: "1", CT_SECRET_FILE: "x", CT_PROT: "1", PATH: "/" })).toEqual([
    "CT_PROT",
  ]);
});

test("a child process reads the same settings from the environment that it is given", () => {
  const env = {
    CT_PORT: "8080",
    CT_CORS_ALLOWED_ORIGINS: "https://a.example,https://b.example",
    CT_LOGIN_SIMPLE: "true",
  };
  const settings = readSettings({ role: "edge", env });
  const child = readSettings({ role: "worker", env: environmentOf(settings, "worker") });
  expect(child.corsAllowedOrigins).toEqual(["https://a.example", "https://b.example"]);
  expect(child.loginSimple).toBe(true);
  const balancer = readSettings({ role: "balancer", env: environmentOf(settings, "balancer") });
  expect(balancer.port).toBe(8080);
});

test("no setting and no variable is declared twice", () => {
  const groups = [DEPLOYMENT_SETTINGS, WORKER_SETTINGS, BALANCER_SETTINGS, OPERATION_SETTINGS];
  const names = groups.flatMap((group) => Object.keys(group));
  expect(Object.keys(SETTINGS)).toEqual(names);
  const variables = new Set(Object.values(SETTINGS).map(({ env }) => env));
  expect(variables.size).toBe(names.length);
});

test("every setting is read somewhere", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const code = ["balancer", "worker", "shared", "edge"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !/settings\/\w+-settings\.ts$/.test(file))
      .map((file) => readFileSync(join(root, folder, file), "utf8")),
  );
  const words = new Set(code.join("\n").match(/\b[a-z]\w+\b/gi));
  expect(Object.keys(SETTINGS).filter((name) => !words.has(name))).toEqual([]);
});

test("an internal setting is read from the environment, and has no flag and no row in the README", () => {
  expect(readSettings({ role: "worker", env: { CT_RESTARTS: "3" } }).restarts).toBe(3);
  expect(readSettings({ role: "worker", env: {} }).restarts).toBeUndefined();
  expect(settingOptions("worker").some(({ long }) => long === "--restarts")).toBe(false);
  expect(settingsTable()).not.toContain("CT_RESTARTS");
  expect(unknownSettings({ CT_RESTARTS: "3" })).toEqual([]);
});

test("every setting of a program is a flag with its variable and default in --help", () => {
  const options = settingOptions("edge");
  const port = options.find((option) => option.long === "--port");
  expect(port?.description).toBe("Public HTTP port; 0 picks a free one. (CT_PORT, default 1080)");
  expect(options.some((option) => option.long === "--worker-url")).toBe(false);
});

describe("values of settings in the documentation and in deploy/ are allowed", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const files = ["README.md", "docs", "deploy"].flatMap((name) => {
    const path = join(root, name);
    if (!statSync(path).isDirectory()) return [path];
    const inner = readdirSync(path, { recursive: true, encoding: "utf8" }).map((one) =>
      join(path, one),
    );
    return inner.filter((one) => /\.(md|ya?ml|conf|cfg|json)$/.test(one));
  });
  const given = files.flatMap((path) =>
    [...readFileSync(path, "utf8").matchAll(/\b(CT_[A-Z_]+)(?:=|: *)"?(\d+)(?![\w/:-]|\.\d)/g)].map(
      ([, env = "", value = ""]) => ({
        file: path.slice(root.length),
        env,
        value,
      }),
    ),
  );

  test("the documentation has values of settings to compare", () => {
    expect(given).toContainEqual({
      file: "docs/operators/proxies.md",
      env: "CT_KEEPALIVE_TIMEOUT_MS",
      value: "620000",
    });
  });

  test.each(given)("$env=$value in $file is allowed", ({ env, value }) => {
    const role = (["edge", "balancer", "worker"] as const).find((one) =>
      settingsOf(one).some(([, setting]) => setting.env === env),
    );
    expect(role).toBeDefined();
    readSettings({ role: role ?? "edge", env: { [env]: value } });
  });
});

test("the README's table of settings is generated from the schema", () => {
  const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
  expect(readme).toContain(settingsTable());
});
