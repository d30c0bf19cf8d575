/**
 * `ct-edge license issue`, for the issuer of licenses, and `license verify`, for operators.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { Command, Option } from "commander";
import { systemClock } from "../../../shared/base/clock.ts";
import { describeError } from "../../../shared/base/errors.ts";
import {
  issueLicense,
  judgeLicense,
  readLicense,
  showProperties,
} from "../../../shared/settings/license.ts";
import { findLicense } from "../../../shared/settings/license-file.ts";
import {
  readSettings,
  SettingError,
  settingOptions,
} from "../../../shared/settings/read-settings.ts";
import { readTextFile } from "../../../shared/settings/text-file.ts";
import { CommandError } from "../../output/errors.ts";
import { createCommand } from "../command.ts";

export function licenseCommand(): Command {
  return new Command("license")
    .description("Issues a license, or verifies the installed one.")
    .addCommand(issueCommand())
    .addCommand(verifyCommand());
}

interface IssueFlags {
  readonly licensee: string;
  readonly maxConnections: string;
  readonly expiration: string;
  readonly key: string;
}

function issueCommand(): Command {
  const required = (flags: string, what: string) => new Option(flags, what).makeOptionMandatory();
  return createCommand<IssueFlags>({
    name: "issue",
    description: "Prints a signed licensing.properties.",
    options: [
      required("--licensee <name>", "The name of the licensee."),
      required("--max-connections <number>", "People in sessions at the same time."),
      required("--expiration <yyyy/mm/dd>", "The last day of the license, UTC."),
      required(
        "--key <file>",
        "PEM file with the issuer's private key, as `openssl genpkey -algorithm ed25519` makes it.",
      ),
    ],
    run: async (flags) => ({ out: issue(flags) }),
  });
}

function issue({ licensee, maxConnections, expiration, key }: IssueFlags): string {
  const checked = readLicense({ licensee, maxConnections, expiration, signature: "" });
  if (checked === undefined) throw new CommandError("the license is empty; set --licensee");
  return showProperties(issueLicense(checked, readPrivateKey(key)));
}

function readPrivateKey(path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readTextFile(path));
  } catch (error) {
    throw new SettingError(
      `--key ${path}: cannot be used (${describeError(error)}); use a PEM file with an Ed25519 private key`,
    );
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new SettingError(
    `--key ${path}: the key is ${key.asymmetricKeyType}, not Ed25519; make one with openssl genpkey -algorithm ed25519`,
  );
}

function verifyCommand(): Command {
  const ours = /^--licens|^--config$/;
  return createCommand({
    name: "verify",
    description: "Verifies the license of the settings.",
    options: settingOptions("edge").filter(({ long }) => ours.test(long ?? "")),
    run: async (flags) => ({ out: verifyInstalled({ ...flags }) }),
  });
}

/** Throws `CommandError` when new sessions would be refused. */
function verifyInstalled(flags: Record<string, unknown>): string {
  const settings = readSettings({ role: "edge", env: process.env, flags });
  const { license, publicKey } = findLicense(settings);
  const standing = judgeLicense(license, publicKey, systemClock.wallMs());
  switch (standing.state) {
    case "community":
      return "No license is installed: community mode, without limits.\n";
    case "valid": {
      const { licensee, maxConnections, expiration } = standing.license;
      return `Valid: ${JSON.stringify(licensee)}, ${maxConnections} people in sessions at the same time, until ${expiration}.\n`;
    }
    case "expired":
      throw new CommandError(`the license expired on ${standing.license.expiration}`);
    case "forged":
      throw new CommandError(
        publicKey === undefined
          ? "the license cannot be verified: set CT_LICENSE_PUBLIC_KEY to the issuer's key"
          : "the license is not valid: its signature does not match CT_LICENSE_PUBLIC_KEY",
      );
  }
}
