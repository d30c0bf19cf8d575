/** `npm run docs`: writes the table of settings into the README, from their schema. */
import { readFileSync, writeFileSync } from "node:fs";
import { settingsTable } from "../shared/settings/read-settings.ts";

const README = new URL("../README.md", import.meta.url);
const PLACE = /(<!-- settings: [^>]*-->\n)[\s\S]*?(\n<!-- end of settings -->)/;

const text = readFileSync(README, "utf8");
if (!PLACE.test(text)) throw new Error("README.md has no place for the table of settings");
writeFileSync(
  README,
  text.replace(PLACE, (_, start: string, end: string) => start + settingsTable() + end),
);
