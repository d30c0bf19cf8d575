/** Values of `CT_LOGIN_API_KEY`, and the errors of invalid ones. */
import { expect, test } from "vitest";
import { parseApiKeys } from "../../../shared/settings/api-keys.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";

const A = "0123456789abcdef";
const B = "fedcba9876543210";

test.each<[string, { name: string | undefined; key: string }[]]>([
  [A, [{ name: undefined, key: A }]],
  [`${A}, with a comma`, [{ name: undefined, key: `${A}, with a comma` }]],
  [`ci:${A}`, [{ name: "ci", key: A }]],
  [
    `ci:${A},Review agent:${B}`,
    [
      { name: "ci", key: A },
      { name: "Review agent", key: B },
    ],
  ],
  [
    ` ci : ${A} ,\tagent_2@example.com:${B} `,
    [
      { name: "ci", key: A },
      { name: "agent_2@example.com", key: B },
    ],
  ],
  // A secret file may have one key per line.
  [
    `ci:${A}\nZoe\u0308:${B}`,
    [
      { name: "ci", key: A },
      { name: "Zo\u00eb", key: B },
    ],
  ],
  [
    `${A},ci:${B}`,
    [
      { name: undefined, key: A },
      { name: "ci", key: B },
    ],
  ],
  [`ci:${A}:with:colons`, [{ name: "ci", key: `${A}:with:colons` }]],
])("the API keys %j are accepted", (text, keys) => {
  expect(parseApiKeys(text)).toEqual(keys);
});

const NAME_RULE =
  "use a name of 1 to 64 letters, digits, spaces and . _ @ - that begins with a letter or digit";
const KEY_RULE = "use a key of 16 to 1024 characters";

test.each([
  ["short", KEY_RULE],
  ["x".repeat(1025), KEY_RULE],
  ["ci:short", `entry 1: ${KEY_RULE}`],
  [`ci:${A},agent:`, `entry 2: ${KEY_RULE}`],
  [`ci:${A},`, `entry 2: ${KEY_RULE}`],
  [`ci:${A},,b:${B}`, `entry 2: ${KEY_RULE}`],
  [`:${A}`, `entry 1: ${NAME_RULE}`],
  [`ci:${A},-x:${B}`, `entry 2: ${NAME_RULE}`],
  [`ci:${A},${"x".repeat(65)}:${B}`, `entry 2: ${NAME_RULE}`],
  [`c\u202ei:${A}`, `entry 1: ${NAME_RULE}`],
  [`<b>:${A}`, `entry 1: ${NAME_RULE}`],
  [
    `ci:${A},agent:${B},CI:${A}${B}`,
    "entries 1 and 3 have the same name; use a different name in each",
  ],
  [`ci:${A},agent:${A}`, "entries 1 and 2 have the same key; use a different key in each"],
  [`${A},${B},ci:${A}${B}`, "entries 1 and 2 have the same name; use a different name in each"],
])(
  "the API keys %j are refused with the position of the problem and without the value",
  (text, problem) => {
    expect(parseApiKeys(text)).toBe(problem);
    const read = () => readSettings({ role: "worker", env: { CT_LOGIN_API_KEY: text } });
    expect(read).toThrow(`CT_LOGIN_API_KEY=(not shown) is not allowed; ${problem}`);
    expect(read).not.toThrow(A);
  },
);
