#!/usr/bin/env node
/**
 * `ct-secret`: makes the secret in the data directory, or keeps the existing one. For machines whose processes are started one
 * by one: run it once, and set `CT_SECRET_FILE` of all of them to the file.
 */
import { join } from "node:path";
import { fail } from "../shared/process/program.ts";
import { readSettings } from "../shared/settings/read-settings.ts";
import { keepSecret } from "./start/secret-file.ts";

try {
  const { dataDir } = readSettings({ role: "edge", env: process.env });
  keepSecret(dataDir);
  process.stdout.write(`the secret is in ${join(dataDir, "secret")}\n`);
} catch (error) {
  fail(error);
}
