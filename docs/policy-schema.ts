/** `npm run docs`: writes the JSON schema of policies, for editors. */
import { writeFileSync } from "node:fs";
import { policyJsonSchema } from "../shared/policy/parse-policy.ts";

const FILE = new URL("policy.schema.json", import.meta.url);

writeFileSync(FILE, `${JSON.stringify(policyJsonSchema(), undefined, 2)}\n`);
