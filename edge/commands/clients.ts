/**
 * `ct-edge clients`: what would be offered of the clients folder, and why the other files are not. Needs no running edge.
 */
import { Command, Option } from "commander";
import { systemClock } from "../../shared/base/clock.ts";
import { escapeForTerminal, escapeJson } from "../../shared/logs/escape.ts";
import { flagOf, readSettings, settingOptions } from "../../shared/settings/read-settings.ts";
import { clientsFolder } from "../../worker/clients/clients.ts";
import { type Artifact, extensionId } from "../../worker/clients/formats/artifact.ts";
import { createScanner, type Offer } from "../../worker/clients/formats/scan.ts";
import { fail } from "../output/fail.ts";
import { type Column, table } from "../output/table.ts";
import { print } from "./command.ts";

/** What `list --json` prints. Fields are added, never changed. */
export interface ClientsAnswer {
  readonly folder: string;
  readonly offered: readonly OfferedFile[];
  readonly skipped: readonly { readonly file: string; readonly reason: string }[];
}

interface OfferedFile {
  readonly ide: "vscode" | "intellij" | "eclipse";
  readonly id: string;
  readonly version: string;
  /** Platform of an extension, builds of an IDE; empty for any. */
  readonly for: string;
  readonly bytes: number;
  /** Relative to the folder. */
  readonly file: string;
}

export function clientsCommand(): Command {
  return new Command("clients")
    .description("Looks into the folder with the IDE plugins that /clients offers.")
    .addCommand(
      folderCommand("list", "Lists what is offered.", (answer) => ({
        out: listText(answer),
        status: 0,
      })),
    )
    .addCommand(
      folderCommand(
        "check",
        "Says of each file that is not offered why; ends with status 1 when there is one.",
        (answer) => ({ out: checkText(answer), status: answer.skipped.length === 0 ? 0 : 1 }),
      ),
    );
}

function folderCommand(
  name: string,
  description: string,
  show: (answer: ClientsAnswer) => { readonly out: string; readonly status: number },
): Command {
  const command = new Command(name)
    .description(description)
    .allowExcessArguments(false)
    .action(async (flags: Record<string, unknown>) => {
      try {
        const settings = readSettings({ role: "command", env: process.env, flags });
        const answer = await readFolder(clientsFolder(settings));
        const { out, status } = show(answer);
        await print(flags["json"] === true ? `${escapeJson(answer, 2)}\n` : out);
        process.exit(status);
      } catch (error) {
        fail(error);
      }
    });
  command.addOption(new Option("--json", "Print JSON, for programs."));
  const own = [flagOf("clientsDir"), flagOf("dataDir"), "--config"];
  for (const option of settingOptions("command")) {
    if (own.includes(option.long ?? "")) command.addOption(option);
  }
  return command;
}

// --- what is known ---

async function readFolder(folder: string): Promise<ClientsAnswer> {
  // As if every file had lain there for long: an operator who asks wants to know now.
  const clock = { wallMs: () => Number.MAX_SAFE_INTEGER, nowMs: () => systemClock.nowMs() };
  const { offer } = await createScanner({ folder, clock }).scan();
  return describeOffer(folder, offer);
}

/** Pure. */
export function describeOffer(folder: string, offer: Offer): ClientsAnswer {
  const features = offer.eclipse?.features ?? [];
  return {
    folder,
    offered: [...offer.vscode, ...offer.intellij, ...features].map(describeArtifact),
    skipped: [...offer.problems].sort((a, b) => (a.file < b.file ? -1 : 1)),
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

// --- as people read it ---

const COLUMNS: readonly Column[] = [
  { title: "IDE" },
  { title: "ID" },
  { title: "VERSION" },
  { title: "FOR" },
  { title: "BYTES", align: "right" },
  { title: "FILE" },
];

/** Pure. */
export function listText(answer: ClientsAnswer): string {
  const { folder, offered, skipped } = answer;
  const rows = offered.map((file) => [
    file.ide,
    file.id,
    file.version,
    file.for,
    String(file.bytes),
    file.file,
  ]);
  const shown =
    rows.length === 0
      ? `Nothing is offered. Plugins belong into ${escapeForTerminal(folder, 500)}: vscode/*.vsix, intellij/*.zip, eclipse/.\n`
      : table(COLUMNS, rows);
  const note = `! Not offered: ${skipped.length}; \`ct-edge clients check\` says why.\n`;
  return skipped.length === 0 ? shown : shown + note;
}

/** Pure. */
export function checkText({ folder, offered, skipped }: ClientsAnswer): string {
  const lines = skipped.map(
    ({ file, reason }) => `${escapeForTerminal(file, 500)}: ${escapeForTerminal(reason, 1000)}\n`,
  );
  const sum = `${offered.length} offered, ${skipped.length} not, in ${escapeForTerminal(folder, 500)}\n`;
  return lines.join("") + sum;
}
