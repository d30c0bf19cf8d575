/** The groups of IDEs by which usage is counted. They rest on what clients call themselves, which can be anything. Pure. */

export const IDE_GROUPS = ["vscode", "intellij", "theia", "eclipse", "browser", "other"] as const;
export type IdeGroup = (typeof IDE_GROUPS)[number];

/** For people. */
export const IDE_NAMES = {
  vscode: "VS Code",
  intellij: "IntelliJ",
  theia: "Theia",
  eclipse: "Eclipse",
  browser: "browser",
  other: "other",
} as const satisfies Record<IdeGroup, string>;

/** The first one whose words are in the name. Theia runs the extension of VS Code, under a name that has both. */
const WORDS: readonly (readonly [IdeGroup, RegExp])[] = [
  ["theia", /\btheia\b/],
  ["vscode", /^oct code\b/],
  [
    "intellij",
    /\b(intellij|jetbrains|pycharm|webstorm|phpstorm|goland|rider|clion|rubymine|rustrover|datagrip|dataspell|android studio)/,
  ],
  ["eclipse", /\beclipse\b/],
  ["browser", /\b(web client|browser|monaco|playground)\b/],
  ["vscode", /\b(visual studio code|vs ?code|vscodium|code-server|cursor|windsurf)\b/],
];

/** `client`: name and version. The client of VS Code is `OCT_CODE_Visual_Studio_Code@0.3.8`. */
export function ideGroupOf(client: string): IdeGroup {
  const name = client.toLowerCase().replaceAll("_", " ");
  return WORDS.find(([, words]) => words.test(name))?.[0] ?? "other";
}
