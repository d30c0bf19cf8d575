/**
 * `ct-edge clients`: which files of the clients folder are offered, and why the others are not. Needs no running edge.
 */
import { Command } from "commander";
import { systemClock } from "../../../shared/base/clock.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { clientsFolder } from "../../../worker/clients/clients.ts";
import { withCompanion } from "../../../worker/clients/companion/package.ts";
import { type Artifact, extensionId } from "../../../worker/clients/formats/artifact.ts";
import { createScanner, type Offer } from "../../../worker/clients/formats/scan.ts";
import { describeSource, missingPlugins } from "../../../worker/clients/plugin-sources.ts";
import { table } from "../../output/table.ts";
import {
  commandOptions,
  commandSettings,
  createCommand,
  jsonOption,
  type Output,
} from "../command.ts";

/** What `list --json` prints. Fields are added, never changed. */
export interface ClientsAnswer {
  readonly folder: string;
  readonly offered: readonly OfferedFile[];
  readonly skipped: readonly { readonly file: string; readonly reason: string }[];
  /** Where to get Open Collaboration Tools for each IDE for which it is not offered. */
  readonly sources: readonly { readonly ide: string; readonly text: string }[];
}

interface OfferedFile {
  readonly ide: "vscode" | "intellij" | "eclipse";
  readonly id: string;
  readonly version: string;
  /** Platform of an extension, or build range of an IDE; empty for any. */
  readonly for: string;
  readonly bytes: number;
  /** Relative to the folder. */
  readonly file: string;
}

export function clientsCommand(): Command {
  return new Command("clients")
    .description("Inspects the folder of IDE plugins that /clients offers.")
    .addCommand(
      folderCommand({
        name: "list",
        description: "Lists the offered plugins.",
        describe: (answer) => ({ out: listText(answer) }),
      }),
    )
    .addCommand(
      folderCommand({
        name: "check",
        description: "Explains why files are not offered; exits with status 1 when there are any.",
        describe: (answer) => ({
          out: checkText(answer),
          status: answer.skipped.length === 0 ? 0 : 1,
        }),
      }),
    );
}

function folderCommand(spec: {
  readonly name: string;
  readonly description: string;
  readonly describe: (answer: ClientsAnswer) => Output;
}): Command {
  return createCommand({
    ...spec,
    options: [jsonOption(), ...commandOptions("clientsDir", "dataDir")],
    async run(flags) {
      const answer = await readFolder(clientsFolder(commandSettings(flags)));
      return { ...spec.describe(answer), json: answer };
    },
  });
}

// --- reading ---

async function readFolder(folder: string): Promise<ClientsAnswer> {
  // The scanner waits until a file is old enough to be complete; this clock makes every file old enough.
  const clock = { wallMs: () => Number.MAX_SAFE_INTEGER, nowMs: () => systemClock.nowMs() };
  const { offer } = await createScanner({ folder, clock }).scan();
  return describeOffer(folder, withCompanion(offer, undefined));
}

/** Pure. */
function describeOffer(folder: string, offer: Offer): ClientsAnswer {
  const features = offer.eclipse?.features ?? [];
  return {
    folder,
    offered: [...offer.vscode, ...offer.intellij, ...features].map(describeArtifact),
    skipped: [...offer.problems].sort((a, b) => (a.file < b.file ? -1 : 1)),
    sources: missingPlugins(offer).map((source) => ({
      ide: source.ide,
      text: describeSource(source),
    })),
  };
}

function describeArtifact(artifact: Artifact): OfferedFile {
  const { ide, version, file } = artifact;
  const common = { ide, version, bytes: file.bytes, file: `${ide}/${file.name}` };
  switch (artifact.ide) {
    case "vscode": {
      const { targetPlatform } = artifact;
      const platform = targetPlatform === "universal" ? "" : targetPlatform;
      return { ...common, id: extensionId(artifact), for: platform };
    }
    case "intellij": {
      const { sinceBuild = "", untilBuild = "" } = artifact;
      const builds = sinceBuild === "" && untilBuild === "" ? "" : `${sinceBuild}–${untilBuild}`;
      return { ...common, id: artifact.id, for: builds };
    }
    case "eclipse":
      return { ...common, id: artifact.id, for: "" };
  }
}

// --- text ---

/** Pure. */
function listText(answer: ClientsAnswer): string {
  const { folder, offered, skipped } = answer;
  const rows = offered.map((one) => [one.ide, one.id, one.version, one.for, one.bytes, one.file]);
  const shown =
    rows.length === 0
      ? `Nothing is offered. Put plugins into ${escapeForTerminal(folder, 500)}: vscode/*.vsix, intellij/*.zip, eclipse/.\n`
      : table("IDE | ID | VERSION | FOR | >BYTES | FILE", rows);
  const note = `! Not offered: ${skipped.length}; run \`ct-edge clients check\` for the reasons.\n`;
  return skipped.length === 0 ? shown : shown + note;
}

/** Pure. */
export function checkText({ folder, offered, skipped, sources }: ClientsAnswer): string {
  const lines = skipped.map(
    ({ file, reason }) => `${escapeForTerminal(file, 500)}: ${escapeForTerminal(reason, 1000)}\n`,
  );
  const sum = `${offered.length} offered, ${skipped.length} not, in ${escapeForTerminal(folder, 500)}\n`;
  if (sources.length === 0) return lines.join("") + sum;
  const from = sources.map(({ text }) => `  ${text}\n`).join("");
  return `${lines.join("")}${sum}\nOpen Collaboration Tools is not offered for every IDE. Where to get it:\n${from}`;
}
