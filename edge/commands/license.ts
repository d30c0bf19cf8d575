/**
 * `ct-edge license issue` and `license verify`: for who gives licences, and for who has one.
 */

import { createPrivateKey, type KeyObject } from "node:crypto";
import { Command, Option } from "commander";
import { systemClock } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import {
  issueLicense,
  judgeLicense,
  readLicense,
  showProperties,
} from "../../shared/settings/license.ts";
import { findLicense } from "../../shared/settings/license-file.ts";
import { readSettings, SettingError, settingOptions } from "../../shared/settings/read-settings.ts";
import { readTextFile } from "../../shared/settings/text-file.ts";
import { CommandError } from "../output/command-error.ts";
import { fail } from "../output/fail.ts";
import { print } from "./command.ts";

export function licenseCommand(): Command {
  return new Command("license")
    .description("Issues a licence, or says whether the one that is installed is valid.")
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
  return new Command("issue")
    .description("Prints a licensing.properties, signed.")
    .addOption(required("--licensee <name>", "Who gets it."))
    .addOption(required("--max-connections <number>", "People in sessions at the same time."))
    .addOption(required("--expiration <yyyy/mm/dd>", "Its last day, UTC."))
    .addOption(
      required(
        "--key <file>",
        "PEM file with the issuer's private key, as `openssl genpkey -algorithm ed25519` makes it.",
      ),
    )
    .action((flags: IssueFlags) => end(async () => issue(flags)));
}

function issue({ licensee, maxConnections, expiration, key }: IssueFlags): string {
  const checked = readLicense({ licensee, maxConnections, expiration, signature: "" });
  if (checked === undefined) throw new CommandError("nothing was given");
  return showProperties(issueLicense(checked, readPrivateKey(key)));
}

function readPrivateKey(path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readTextFile(path));
  } catch (error) {
    throw new SettingError(
      `--key ${path}: cannot be used (${describeError(error)}); name a PEM file with an Ed25519 private key`,
    );
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new SettingError(
    `--key ${path}: is a key of ${key.asymmetricKeyType}; make one with openssl genpkey -algorithm ed25519`,
  );
}

function verifyCommand(): Command {
  const command = new Command("verify")
    .description("Says how the licence stands that the settings name.")
    .action((flags: Record<string, unknown>) => end(async () => verifyInstalled(flags)));
  const ours = /^--licens|^--config$/;
  for (const option of settingOptions("edge")) {
    if (ours.test(option.long ?? "")) command.addOption(option);
  }
  return command;
}

/** Throws `CommandError` when new sessions would be refused. */
function verifyInstalled(flags: Record<string, unknown>): string {
  const settings = readSettings({ role: "edge", env: process.env, flags });
  const { license, publicKey } = findLicense(settings);
  const standing = judgeLicense(license, publicKey, systemClock.wallMs());
  switch (standing.state) {
    case "community":
      return "No license is installed: community mode, nothing is limited.\n";
    case "valid": {
      const { licensee, maxConnections, expiration } = standing.license;
      return `Valid: ${JSON.stringify(licensee)}, ${maxConnections} people in sessions at the same time, until ${expiration}.\n`;
    }
    case "expired":
      throw new CommandError(`the license has expired on ${standing.license.expiration}`);
    case "forged":
      throw new CommandError(
        publicKey === undefined
          ? "the license cannot be verified: set CT_LICENSE_PUBLIC_KEY to the issuer's key"
          : "the license is not valid: the issuer of CT_LICENSE_PUBLIC_KEY did not sign it so",
      );
  }
}

/** Ends the process when all is printed. */
async function end(answer: () => Promise<string>): Promise<void> {
  try {
    await print(await answer());
    process.exit(0);
  } catch (error) {
    fail(error);
  }
}
